// What the report concludes: the verdict over both forms of the sequences, what is not finite, and what compares.
#include <cmath>
#include <functional>
#include <limits>

#include "tests/analysis/report_case.h"

namespace headroom {
namespace {

using test::json_of;
using test::rows_where;
using test::text_of;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class ReportFindings : public test::ReportTest {
 protected:
  // A baseline with massive layers, or as `change` makes it, and a run of another variant.
  fs::path baseline(const std::function<void(FixtureRun&)>& change = [](FixtureRun&) {}) {
    FixtureRun run;
    run.name = "a";
    change(run);
    return write_fixture(folder_, run);
  }
  fs::path other(const std::function<void(FixtureRun&)>& change) {
    FixtureRun run;
    run.name = "b";
    run.variant = "KV bias";
    run.kv_bias = true;
    change(run);
    return write_fixture(folder_, run);
  }
};

TEST_F(ReportFindings, MitigatedMeansCleanWithAndWithoutBos) {
  const fs::path base = baseline();
  const auto verdict_of = [&](bool with_bos, bool without_bos) {
    const fs::path run = other([&](FixtureRun& r) {
      r.planted_with_bos = with_bos;
      r.planted_without_bos = without_bos;
    });
    return rows({base, run}, "summary")[1];
  };
  EXPECT_EQ(verdict_of(false, false).at("mitigated"), "yes");
  EXPECT_EQ(verdict_of(true, true).at("mitigated"), "no");

  const auto without = verdict_of(false, true);
  EXPECT_EQ(without.at("mitigated"), "only_with_bos");
  EXPECT_EQ(without.at("any_massive_layer"), true);
  EXPECT_EQ(without.at("massive_layers"), "");
  EXPECT_EQ(without.at("massive_layers_no_bos"), "1;2;3");
  const std::string page = text_of(folder_ / "out" / "index.html");
  EXPECT_THAT(page, HasSubstr("<b class=\"badge bad\">only with BOS</b><small>no BOS: massive layers 1–3</small>"));
  EXPECT_THAT(findings(folder_ / "out"),
              HasSubstr("All 2 runs with a snapshot have massive layers: baseline, KV bias (only without BOS)."));

  EXPECT_EQ(verdict_of(true, false).at("mitigated"), "only_without_bos");
}

TEST_F(ReportFindings, NothingIsMitigatedWhereTheBaselineIsClean) {
  const fs::path base = baseline([](FixtureRun& r) { r.planted = 0.0; });
  const auto summary = rows({base, other([](FixtureRun& r) { r.planted = 0.0; })}, "summary");
  EXPECT_EQ(summary[0].at("mitigated"), "none_seen");
  EXPECT_EQ(summary[1].at("mitigated"), "none_seen");
  EXPECT_EQ(summary[1].at("any_massive_layer"), false);
  // Massive only where the baseline is massive too: nothing was won.
  const fs::path half = baseline([](FixtureRun& r) { r.planted_with_bos = false; });
  const fs::path same = other([](FixtureRun& r) { r.planted_with_bos = false; });
  EXPECT_EQ(rows({half, same}, "summary")[1].at("mitigated"), "no");
}

// A value that is not finite must never read as a small one.
class NotFinite : public ReportFindings, public testing::WithParamInterface<float> {};

TEST_P(NotFinite, MakesTheVerdictUnknownAndIsNamed) {
  const fs::path run = other([&](FixtureRun& r) {
    r.planted = 0.0;
    r.broken_layer = 2;
    r.broken_value = GetParam();
  });
  const fs::path out = write({baseline(), run});
  const auto summary = json_of(out / "tables" / "summary.json").at("rows")[1];
  EXPECT_EQ(summary.at("mitigated"), "unknown");
  EXPECT_TRUE(summary.at("any_massive_layer").is_null());
  EXPECT_TRUE(summary.at("max").is_null());
  EXPECT_EQ(summary.at("max_layer"), 2);  // not the largest of the others

  const auto layers = json_of(out / "tables" / "layers.json");
  const auto broken = rows_where(layers, {{"run", "KV bias"}, {"set", "calibration, BOS"}, {"layer", 2}})[0];
  for (const char* figure : {"massive", "max", "ratio", "crest", "rms", "lost_int8", "lost_e4m3"})
    EXPECT_TRUE(broken.at(figure).is_null()) << figure;
  const auto whole = rows_where(layers, {{"run", "KV bias"}, {"set", "calibration, BOS"}, {"layer", 1}})[0];
  EXPECT_EQ(whole.at("massive"), false);

  const std::string text = findings(out);
  EXPECT_THAT(text, HasSubstr("Massive layers in 1 of 2 runs: baseline; unknown in KV bias, not finite."));
  EXPECT_THAT(text, HasSubstr("Whether layer 2 passes the tests is unknown"));
  EXPECT_THAT(text, HasSubstr("The first activation that is not finite is at layer 2, channel 4, position 1"));
  EXPECT_THAT(text, Not(HasSubstr("max |h| is ")));  // no comparison with the baseline
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("<b class=\"badge bad\">unknown</b><small>not finite: layer 2"));

  // The bars over all layers do not fall back to the largest of the others.
  const auto sites = rows_where(json_of(out / "tables" / "sites.json"),
                                {{"run", "KV bias"}, {"set", "calibration, BOS"}, {"site", "block_output"}});
  EXPECT_TRUE(sites[2].at("largest").is_null());
  const auto headroom = figure(out, "headroom");
  for (const auto& view : headroom.at("views"))
    EXPECT_TRUE(view.at("panels")[0].at("series")[1].at("y")[5].is_null());  // block output
}

INSTANTIATE_TEST_SUITE_P(Values, NotFinite,
                         testing::Values(std::numeric_limits<float>::quiet_NaN(),
                                         std::numeric_limits<float>::infinity()),
                         [](const auto& value) { return std::string(std::isnan(value.param) ? "NaN" : "Infinity"); });

TEST_F(ReportFindings, ComparesRunsWithTheBaselineAtEqualTokens) {
  const fs::path mitigated = other([](FixtureRun& r) {
    r.variant = "TVR + KV bias";
    r.planted = 12.0;
    r.tvr = true;
    r.layers = 7;
    r.hidden = 31;
    r.window = 71;
  });
  // Longer than the other; a snapshot and an evaluation at its end.
  const fs::path base = baseline([](FixtureRun& r) {
    r.steps = 20;
    r.snapshots = {12, 20};
    r.planted = 700.0;
    r.window = 71;
  });
  const fs::path out = write({mitigated, base});
  const auto summary = json_of(out / "tables" / "summary.json").at("rows");
  ASSERT_EQ(summary.size(), 2u);
  EXPECT_EQ(summary[0].at("run"), "baseline");
  EXPECT_EQ(summary[1].at("run"), "TVR + KV bias");
  EXPECT_EQ(summary[1].at("mitigated"), "yes");
  EXPECT_EQ(summary[0].at("compared_at_tokens"), 12000.0);
  EXPECT_EQ(summary[0].at("evaluated_at_tokens"), 12000.0);
  EXPECT_EQ(summary[0].at("tokens_seen"), 20000.0);
  // The bias slot draws 0.7 and less from layer 1 on.
  EXPECT_NEAR(json_of(out / "tables" / "scale_free.json").at("rows")[1].at("sink_bias"), 6.0 / 7.0, 1e-12);
  const std::string text = findings(out);
  EXPECT_THAT(text, HasSubstr("Massive layers in 1 of 2 runs: baseline; none in TVR + KV bias."));
  EXPECT_THAT(text, HasSubstr("The largest |h|, at each run's last snapshot, ranges from 12.0"));
  // 12/20 of 700 at the step that both have a snapshot of.
  EXPECT_THAT(text,
              HasSubstr("Against baseline: at 12 k training tokens, the latest snapshots in common, max |h| is 35 "
                        "times smaller (12.0 against 420)"));
  EXPECT_THAT(text,
              HasSubstr("TVR ran 2 times and rescaled 13 matrices in all, 4 of 49 at its last run, where the largest "
                        "deviation was 1.30 times its target"));
  EXPECT_THAT(text, HasSubstr("The runs differ in length: 20 k (baseline), 12 k (TVR + KV bias). Training losses are "
                              "compared at 12 k tokens, where TVR + KV bias ends."));
  EXPECT_THAT(text,
              HasSubstr("compared at 12 k training tokens, the latest evaluation in common: TVR + KV bias was not "
                        "evaluated later"));
  EXPECT_THAT(text,
              HasSubstr("The last snapshots are of different training tokens: 20 k (baseline), 12 k (TVR + KV bias)"));
}

TEST_F(ReportFindings, ChangesOfActivationsAreShownBetweenEqualTokensOnly) {
  const fs::path base = baseline();
  write({base, other([](FixtureRun& r) { r.planted = 42.0; })});
  EXPECT_THAT(text_of(folder_ / "out" / "index.html"), HasSubstr("<small>layer 1 · ×0.10</small>"));
  write({base, other([](FixtureRun& r) {
           r.planted = 84.0;
           r.snapshots = {6};  // half of it
         })});
  const std::string page = text_of(folder_ / "out" / "index.html");
  EXPECT_THAT(page, Not(HasSubstr("×0.10")));
  EXPECT_THAT(page, HasSubstr("step 6<small>6 k tokens</small>"));
}

TEST_F(ReportFindings, EvaluationsAtDifferentTokensAreNotCompared) {
  const fs::path base = baseline([](FixtureRun& r) { r.evaluate_every = 5; });  // 5, 10
  const fs::path run = other([](FixtureRun& r) {
    r.evaluate_every = 4;  // 4, 8, 12
    r.final_loss = 5.0;
  });
  const auto summary = rows({base, run}, "summary");
  EXPECT_EQ(summary[0].at("evaluated_at_tokens"), 10000.0);
  EXPECT_EQ(summary[1].at("evaluated_at_tokens"), 12000.0);
  EXPECT_THAT(findings(folder_ / "out"),
              HasSubstr("never evaluated after equally many training tokens: perplexities are "
                        "each run's last, at 10 k (baseline), 12 k (KV bias)"));
  EXPECT_THAT(findings(folder_ / "out"), Not(HasSubstr("perplexity is")));
  EXPECT_THAT(text_of(folder_ / "out" / "index.html"), HasSubstr("<small>at 12 k tokens</small>"));
}

TEST_F(ReportFindings, ARunTooShortForAnEvaluationDoesNotHideTheOthers) {
  const fs::path run = other([](FixtureRun& r) {
    r.steps = 3;
    r.snapshots = {3};
  });
  const auto summary = rows({baseline(), run}, "summary");
  EXPECT_EQ(summary[0].at("evaluated_at_tokens"), 12000.0);
  EXPECT_TRUE(summary[0].at("perplexity").is_number());
  EXPECT_TRUE(summary[1].at("perplexity").is_null());
  EXPECT_THAT(findings(folder_ / "out"),
              HasSubstr("Never evaluated on the held-out split, so without a perplexity: KV bias."));
}

TEST_F(ReportFindings, SpeedIsGivenWithItsSpreadAndNotCompared) {
  const auto summary = rows({baseline(), other([](FixtureRun& r) { r.tokens_per_step = 300; })}, "summary");
  EXPECT_EQ(summary[1].at("tokens_per_second"), 600.0);
  EXPECT_EQ(summary[1].at("tokens_per_second_q1"), 600.0);
  EXPECT_THAT(text_of(folder_ / "out" / "index.html"), HasSubstr("600<small>600 – 600</small>"));
}

TEST_F(ReportFindings, ShortSequencesAreRatedOverWhatTheyHaveAndSaidToBe) {
  const fs::path out = write({baseline()});
  const auto scale_free = json_of(out / "tables" / "scale_free.json").at("rows")[0];
  EXPECT_EQ(scale_free.at("sink_tokens"), 11);
  EXPECT_THAT(findings(out), HasSubstr("No sequence has the 64 tokens that published rates are over: these are over at "
                                       "most 11"));
}

TEST_F(ReportFindings, TheRemarksOnScaleAreOfTheRunsOwnNumbers) {
  // max|h| of 160 passes the absolute threshold, its ratio of some hundred does not pass the other.
  const fs::path base = baseline([](FixtureRun& r) {
    r.planted = 160.0;
    r.noise = 1.0;
  });
  const fs::path out = write({base});
  EXPECT_THAT(findings(out), HasSubstr("max|h| does reach 160, above 100, but nowhere 1,000 times the median"));
  EXPECT_THAT(findings(out), Not(HasSubstr("says nothing about a mitigation")));
  EXPECT_THAT(findings(out), HasSubstr("baseline with 1.23 M parameters is smaller than that model of 60 M"));
  const std::string page = text_of(out / "index.html");
  EXPECT_THAT(page, HasSubstr("<a href=\"#scale\">"));
  EXPECT_LT(page.find("id=\"scale\""), page.find("id=\"findings\""));

  const fs::path small = other([](FixtureRun& r) {
    r.planted = 12.0;
    r.tokens_per_step = 300'000'000;  // 3.6 B tokens
  });
  const std::string text = findings(write({base, small}));
  EXPECT_THAT(text, HasSubstr("baseline saw 12 k training tokens"));
  EXPECT_THAT(text, HasSubstr("KV bias saw 3.6 B training tokens, past the 1–2 B in which"));
}

TEST_F(ReportFindings, ATvrThatNeverActedIsSaidToBeNone) {
  const fs::path run = other([](FixtureRun& r) {
    r.tvr = true;
    r.tvr_acts = false;
    r.final_loss = 3.75;
  });
  const std::string text = findings(write({baseline(), run}));
  EXPECT_THAT(text, HasSubstr("TVR rescaled no matrix of KV bias"));
  EXPECT_THAT(text, Not(HasSubstr("penalty")));
}

TEST_F(ReportFindings, TvrIsExcusedOnlyForAPenaltyItHas) {
  const auto with_loss = [&](double loss) {
    const fs::path run = other([&](FixtureRun& r) {
      r.tvr = true;
      r.final_loss = loss;
    });
    return findings(write({baseline(), run}));
  };
  EXPECT_THAT(with_loss(3.75),
              HasSubstr("the held-out loss of KV bias is 0.250 nats above that of baseline. TVR trailed"));
  const std::string better = with_loss(3.25);
  EXPECT_THAT(better, HasSubstr("is 0.250 nats below that of baseline."));
  EXPECT_THAT(better, Not(HasSubstr("penalty")));
}

TEST_F(ReportFindings, TheWidestChangeOfTheWeightsIsSaid) {
  // From half of the way from 0.01 to 0.03 to all of it; all kinds of matrix grow alike, the first is named.
  EXPECT_THAT(findings(write({baseline()})),
              HasSubstr("Between steps 6 and 12 the standard deviation of weights changed most in attention."));
  EXPECT_THAT(findings(write({baseline([](FixtureRun& r) { r.weight_std = 0.01; })})),
              Not(HasSubstr("standard deviation of weights")));
}

TEST_F(ReportFindings, RunsThatSawOtherTextsAreSaidTo) {
  const fs::path run = other([](FixtureRun& r) {
    r.corpus = "f00d";
    r.window = 12;
    r.probe_note = "only 3 of 9 calibration windows of 12 tokens";
  });
  const fs::path out = write({baseline(), run});
  EXPECT_THAT(findings(out), HasSubstr("The calibration sequences of KV bias are not those of baseline"));
  EXPECT_THAT(findings(out), HasSubstr("trained on 2 different corpora"));
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("KV bias: only 3 of 9 calibration windows of 12 tokens"));
}

}  // namespace
}  // namespace headroom
