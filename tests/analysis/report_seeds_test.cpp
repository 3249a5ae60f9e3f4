// Reports over several seeds: which runs are groups, what their intervals are, and when a difference is marked.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "analysis/report/estimate.h"
#include "analysis/report/seeds.h"
#include "tests/analysis/report_case.h"

namespace headroom {
namespace {

using report::Averaging;
using report::Estimate;
using report::estimate;
using test::json_of;
using test::rows_where;
using test::text_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(ReportEstimate, QuantilesAreThoseOfThePublishedTables) {
  EXPECT_NEAR(report::t_quantile(1), 12.706, 5e-4);
  EXPECT_NEAR(report::t_quantile(2), 4.303, 5e-4);
  EXPECT_NEAR(report::t_quantile(4), 2.776, 5e-4);
  EXPECT_NEAR(report::t_quantile(9), 2.262, 5e-4);
  EXPECT_NEAR(report::t_quantile(1000), 1.962, 5e-4);
}

TEST(ReportEstimate, IntervalsAreWhatTheFormulaGives) {
  // 1, 2, 3: s = 1, so 2 -+ 4.3027 / sqrt(3).
  const Estimate e = estimate(std::vector<double>{1.0, 2.0, 3.0}, Averaging::arithmetic);
  EXPECT_EQ(e.n, 3u);
  EXPECT_DOUBLE_EQ(e.mean, 2.0);
  EXPECT_NEAR(e.low, 2.0 - 2.48414, 1e-5);
  EXPECT_NEAR(e.high, 2.0 + 2.48414, 1e-5);
  // 10 and 1000: their logarithms are 2 -+ 1 to base 10, so s = sqrt(2) and the half-width 12.706 sqrt(2) / sqrt(2).
  const Estimate g = estimate(std::vector<double>{10.0, 1000.0}, Averaging::geometric);
  EXPECT_NEAR(g.mean, 100.0, 1e-9);
  EXPECT_NEAR(std::log10(g.high / g.mean), 12.7062, 1e-4);
  EXPECT_NEAR(std::log10(g.mean / g.low), 12.7062, 1e-4);
}

TEST(ReportEstimate, OneValueHasNoIntervalAndWhatIsNotFiniteIsNotDropped) {
  const Estimate one = estimate(std::vector<double>{5.0}, Averaging::arithmetic);
  EXPECT_DOUBLE_EQ(one.mean, 5.0);
  EXPECT_FALSE(one.has_interval());
  const Estimate broken = estimate(std::vector<double>{5.0, kNaN, 6.0}, Averaging::arithmetic);
  EXPECT_EQ(broken.n, 3u);
  EXPECT_TRUE(std::isnan(broken.mean));
  EXPECT_FALSE(broken.has_interval());
  EXPECT_TRUE(std::isnan(estimate(std::vector<double>{0.0, 2.0}, Averaging::geometric).mean));
}

TEST(ReportEstimate, IntervalsSeparateOnlyWhereTheyShareNoPoint) {
  const auto interval = [](double low, double high) { return Estimate{3, (low + high) / 2.0, low, high}; };
  EXPECT_TRUE(separate(interval(1.0, 2.0), interval(2.1, 3.0)));
  EXPECT_TRUE(separate(interval(2.1, 3.0), interval(1.0, 2.0)));
  EXPECT_FALSE(separate(interval(1.0, 2.0), interval(2.0, 3.0)));  // they touch
  EXPECT_FALSE(separate(interval(1.0, 4.0), interval(2.0, 3.0)));
  const Estimate one{1, 9.0, kNaN, kNaN};
  EXPECT_FALSE(separate(interval(1.0, 2.0), one));
  EXPECT_FALSE(separate(one, interval(1.0, 2.0)));
}

TEST(ReportEstimate, ChanceSeparatesAsOftenAsInSimulation) {
  // Of 200,000 pairs of samples of normal numbers each; of large samples 2 (1 - Phi(1.96 sqrt(2))).
  EXPECT_NEAR(report::chance_to_separate(2, 2), 0.0039, 3e-4);
  EXPECT_NEAR(report::chance_to_separate(3, 3), 0.0047, 3e-4);
  EXPECT_NEAR(report::chance_to_separate(2, 5), 0.0080, 4e-4);
  EXPECT_NEAR(report::chance_to_separate(5, 3), 0.0059, 3e-4);
  EXPECT_NEAR(report::chance_to_separate(2000, 2000), 0.00556, 1e-4);
}

class ReportSeeds : public test::ReportTest {
 protected:
  fs::path run(const std::string& variant, std::uint64_t seed, const std::function<void(FixtureRun&)>& change = {}) {
    FixtureRun made;
    made.variant = variant;
    made.name = fmt::format("{}-seed{}", variant, seed);
    made.seed = seed;
    made.seed_in_config = true;
    made.kv_bias = variant == "KV bias";
    made.tvr = variant == "TVR";
    made.final_loss += 0.001 * static_cast<double>(seed);
    if (change) change(made);
    return write_fixture(folder_, made);
  }
  // Three seeds of it.
  std::vector<fs::path> three(const std::string& variant, const std::function<void(FixtureRun&)>& change = {}) {
    return {run(variant, 1, change), run(variant, 2, change), run(variant, 3, change)};
  }
  static std::vector<fs::path> joined(std::vector<fs::path> a, const std::vector<fs::path>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
  static nlohmann::json seeds_row(const fs::path& out, const std::string& group, const std::string& measure) {
    const auto rows = rows_where(json_of(out / "tables" / "seeds.json"), {{"group", group}, {"measure", measure}});
    EXPECT_EQ(rows.size(), 1u) << group << ", " << measure;
    return rows.empty() ? nlohmann::json() : rows.front();
  }
  static std::vector<std::string> groups_of(const report::Study& study) {
    std::vector<std::string> words;
    for (const report::Group& group : study.groups) {
      words.push_back(group.label + ":");
      for (const std::size_t one : group.runs) words.back() += " " + study.runs[one].name;
    }
    return words;
  }
};

TEST_F(ReportSeeds, RunsThatDifferByTheirSeedOnlyAreAGroupAndTheBaselineComesFirst) {
  const auto other = [](FixtureRun& r) { r.lr = 4e-3; };
  const auto renamed = [&](std::uint64_t seed) {
    return run("TVR", seed, [&](FixtureRun& r) {
      other(r);
      r.name += "-fast";
    });
  };
  const report::Study study = report::make_study(
      {run("TVR", 3), renamed(1), run("baseline", 2), run("TVR", 1), run("baseline", 1), renamed(2), run("DyT", 1)},
      {});
  EXPECT_THAT(groups_of(study),
              ElementsAre("baseline: baseline-seed1 baseline-seed2", "TVR, lr 0.002: TVR-seed1 TVR-seed3",
                          "TVR, lr 0.004: TVR-seed1-fast TVR-seed2-fast", "DyT: DyT-seed1"));
  EXPECT_EQ(study.baseline_group, 0u);
  EXPECT_FALSE(study.baseline);  // only groups are compared
  EXPECT_EQ(study.runs[3].label, "TVR, lr 0.002, seed 3");
  EXPECT_EQ(study.colors[2], study.colors[3]);
  EXPECT_NE(study.colors[2], study.colors[4]);
}

TEST_F(ReportSeeds, ASeedTwiceIsNoFurtherSeed) {
  const fs::path again = run("baseline", 2, [](FixtureRun& r) { r.name = "again"; });
  const report::Study study = report::make_study({run("baseline", 1), run("baseline", 2), again, run("TVR", 1)}, {});
  EXPECT_THAT(groups_of(study),
              ElementsAre("baseline: baseline-seed1 baseline-seed2", "again: again", "TVR: TVR-seed1"));
  EXPECT_THAT(study.runs[2].remarks, testing::Contains(HasSubstr("baseline-seed2 again, settings and seed")));
}

TEST_F(ReportSeeds, WithoutRepeatsNothingIsSaidOfSeeds) {
  const fs::path out = write({run("baseline", 1), run("TVR", 1)});
  EXPECT_FALSE(fs::exists(out / "tables" / "seeds.json"));
  EXPECT_FALSE(fs::exists(out / "figures" / "seeds.svg"));
  EXPECT_FALSE(page_data(out).contains("groups"));
  EXPECT_THAT(findings(out), HasSubstr("Against baseline: "));
  EXPECT_THAT(findings(out), Not(HasSubstr("seed")));
}

TEST_F(ReportSeeds, MeansAndIntervalsFollowFromTheRuns) {
  const fs::path out = write(joined(three("baseline"), three("TVR")));
  // Held-out losses are 3.6 and the seeds' thousandths: mean 3.602, s 0.001, half-width 4.3027 / sqrt(3) thousandths.
  const auto loss = seeds_row(out, "baseline", "held_out_loss");
  EXPECT_EQ(loss.at("n"), 3);
  EXPECT_NEAR(loss.at("mean"), 3.602, 1e-9);
  EXPECT_NEAR(loss.at("low"), 3.602 - 0.00248414, 1e-7);
  EXPECT_NEAR(loss.at("high"), 3.602 + 0.00248414, 1e-7);
  // The logarithm of the perplexity is the loss.
  const auto perplexity = seeds_row(out, "baseline", "perplexity");
  EXPECT_EQ(perplexity.at("averaging"), "geometric");
  EXPECT_NEAR(perplexity.at("mean"), std::exp(3.602), 1e-6);
  EXPECT_NEAR(perplexity.at("high"), std::exp(3.602 + 0.00248414), 1e-5);
  EXPECT_TRUE(loss.at("against_baseline").is_null());
  EXPECT_TRUE(seeds_row(out, "TVR", "held_out_loss").at("against_baseline").is_null());  // alike
  EXPECT_EQ(seeds_row(out, "baseline", "massive_runs").at("mean"), 3);
}

TEST_F(ReportSeeds, ADifferenceIsMarkedWhereTheIntervalsSeparateAndNowhereElse) {
  const auto worse = [](double by) { return [by](FixtureRun& r) { r.final_loss += by; }; };
  // Half-widths of 0.00248 on both sides: 0.0049 apart they still overlap, 0.0051 apart no longer.
  fs::path out = write(joined(three("baseline"), three("TVR", worse(0.0049))));
  EXPECT_TRUE(seeds_row(out, "TVR", "held_out_loss").at("against_baseline").is_null());
  EXPECT_THAT(text_of(out / "index.html"), Not(HasSubstr("<b class=\"mark\">higher, +0.00")));

  out = write(joined(three("baseline"), three("TVR", worse(0.0051))));
  const auto row = seeds_row(out, "TVR", "held_out_loss");
  EXPECT_EQ(row.at("against_baseline"), "higher");
  EXPECT_NEAR(row.at("change"), 0.0051, 1e-9);
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("<b class=\"mark\">higher, +0.0051"));
  EXPECT_THAT(findings(out), HasSubstr("Held-out loss is higher, +0.0051"));
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("marked only where the two intervals do not overlap"));
}

TEST_F(ReportSeeds, TheComparisonsAndWhatChanceWouldMarkAreCounted) {
  const report::Study study = report::make_study(joined(three("baseline"), three("TVR")), {});
  const auto comparison = report::compare_seeds(study);
  std::size_t compared = 0;
  for (const auto& figures : comparison.figures) compared += figures[1].compared ? 1 : 0;
  EXPECT_EQ(comparison.compared, compared);
  EXPECT_GT(compared, 5u);
  EXPECT_NEAR(comparison.apart_by_chance, static_cast<double>(compared) * report::chance_to_separate(3, 3), 1e-12);
}

TEST_F(ReportSeeds, OneSeedHasNoIntervalAndNoMark) {
  auto runs = three("baseline");
  runs.push_back(run("TVR", 1, [](FixtureRun& r) { r.final_loss = 5.0; }));
  const fs::path out = write(runs);
  const auto row = seeds_row(out, "TVR", "held_out_loss");
  EXPECT_TRUE(row.at("low").is_null());
  EXPECT_TRUE(row.at("against_baseline").is_null());
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("One seed only, so without an interval or a comparison: TVR."));
}

TEST_F(ReportSeeds, ASeedThatIsNotFiniteLeavesItsGroupsMeanUnknownAndIsNamed) {
  auto runs = joined(three("baseline"), {run("TVR", 1), run("TVR", 2)});
  runs.push_back(run("TVR", 3, [](FixtureRun& r) {
    r.broken_layer = 2;
    r.broken_value = std::numeric_limits<float>::quiet_NaN();
  }));
  const fs::path out = write(runs);
  const auto row = seeds_row(out, "TVR", "max");
  EXPECT_EQ(row.at("n"), 3);
  EXPECT_TRUE(row.at("mean").is_null());
  EXPECT_TRUE(row.at("against_baseline").is_null());
  EXPECT_EQ(row.at("not_finite"), "TVR-seed3");
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("Not finite in TVR, seed 3, so unknown for TVR: Max |h|"));
}

TEST_F(ReportSeeds, RunsThatEndedEarlyOrHaveNoSnapshotAreNamedAndDoNotDragTheOthersDown) {
  auto runs = joined(three("baseline"), {run("TVR", 1)});
  runs.push_back(run("TVR", 2, [](FixtureRun& r) { r.snapshots = {}; }));
  runs.push_back(run("TVR", 3));
  // The last one stopped after 5 of its 12 steps.
  const std::string all = text_of(runs.back() / "metrics.jsonl");
  std::size_t end = 0;
  for (int line = 0; line < 6; ++line) end = all.find('\n', end) + 1;
  std::ofstream(runs.back() / "metrics.jsonl") << all.substr(0, end);
  fs::remove_all(runs.back() / "snapshots");
  const fs::path out = write(runs);
  const auto loss = seeds_row(out, "TVR", "held_out_loss");
  EXPECT_EQ(loss.at("seeds"), 3);
  EXPECT_EQ(loss.at("n"), 2);
  EXPECT_NEAR(loss.at("mean"), 3.6015, 1e-9);
  EXPECT_EQ(seeds_row(out, "TVR", "max").at("n"), 1);
  const std::string page = text_of(out / "index.html");
  EXPECT_THAT(page, HasSubstr("TVR, seed 3 ended early, after 5 k of the 12 k training tokens of TVR"));
  EXPECT_THAT(page, HasSubstr("TVR, seed 2 has no snapshot"));
}

TEST_F(ReportSeeds, LossesOfOtherCorporaAreNotCompared) {
  const auto other = [](FixtureRun& r) {
    r.corpus = "f00d";
    r.final_loss = 5.0;
    r.planted = 42.0;
  };
  const fs::path out = write(joined(three("baseline"), three("TVR", other)));
  EXPECT_TRUE(seeds_row(out, "TVR", "held_out_loss").at("against_baseline").is_null());
  EXPECT_EQ(seeds_row(out, "TVR", "max").at("against_baseline"), "lower");
}

TEST_F(ReportSeeds, TheFigureShowsEverySeedTheMeanAndTheBaselinesInterval) {
  const fs::path out = write(joined(three("baseline"), three("TVR")));
  const auto view = figure(out, "seeds").at("views").at(0);
  ASSERT_EQ(view.at("panels").size(), 5u);
  const auto panel = view.at("panels").at(0);
  EXPECT_EQ(panel.at("kind"), "intervals");
  EXPECT_EQ(panel.at("x").at("categories"), nlohmann::json({"baseline", "TVR"}));
  const auto seeds = panel.at("series").at(2);
  EXPECT_EQ(seeds.at("x"), nlohmann::json({1, 1, 1}));
  EXPECT_NEAR(seeds.at("y").at(1), std::exp(3.602), 1e-2);
  EXPECT_EQ(seeds.at("notes").at(1), "TVR, seed 2");
  const auto mean = panel.at("series").at(3);
  EXPECT_NEAR(mean.at("low").at(0), std::exp(3.602 - 0.00248414), 1e-2);
  EXPECT_NEAR(mean.at("high").at(0), std::exp(3.602 + 0.00248414), 1e-2);
  EXPECT_NEAR(panel.at("band").at("low"), std::exp(3.602 - 0.00248414), 1e-2);
  EXPECT_THAT(text_of(out / "figures" / "seeds.svg"), Not(HasSubstr("nan")));
}

TEST_F(ReportSeeds, LinesOfAGroupAreTheirMeanAndItsRangeAndPanelsShowOneRun) {
  const auto stronger = [](FixtureRun& r) { r.planted = 100.0 * static_cast<double>(r.seed); };
  const fs::path out = write(joined(three("baseline", stronger), three("TVR")));
  const auto data = page_data(out);
  EXPECT_EQ(data.at("groups").at(1), nlohmann::json({{"name", "TVR"}, {"runs", {3, 4, 5}}}));
  const auto loss = figure(out, "loss").at("views").at(0).at("panels").at(0).at("series");
  int lines = 0;
  for (const auto& series : loss) lines += series.at("stroke") == "solid" ? 1 : 0;
  EXPECT_EQ(lines, 2);
  EXPECT_EQ(loss.at(0).at("name"), "baseline");
  EXPECT_NEAR(loss.at(0).at("y").back(), 3.502, 1e-4);
  EXPECT_NEAR(loss.at(0).at("low").back(), 3.501, 1e-4);
  EXPECT_NEAR(loss.at(0).at("high").back(), 3.503, 1e-4);

  const auto layers = figure(out, "layers").at("views").at(0).at("panels");
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers.at(0).at("title"), "baseline, seed 1");
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("one run is shown (seed 1); the others are in the tables"));
  const auto options = figure(out, "maps").at("selectors").at(0).at("options");
  EXPECT_EQ(options, nlohmann::json({"baseline, seed 1", "TVR, seed 1"}));
  EXPECT_EQ(rows_where(json_of(out / "tables" / "layers.json"), {{"run", "TVR, seed 3"}, {"layer", 0}}).size(), 4u);

  // One bar a group and site, from the weakest to the strongest seed; of block outputs 100, 200 and 300.
  const auto headroom = figure(out, "headroom").at("views").at(0).at("panels").at(0);
  ASSERT_EQ(headroom.at("series").size(), 2u);
  const auto sites = headroom.at("x").at("categories").get<std::vector<std::string>>();
  const auto block = std::find(sites.begin(), sites.end(), "block") - sites.begin();
  const auto bars = headroom.at("series").at(0);
  EXPECT_NEAR(bars.at("y").at(block), std::cbrt(100.0 * 200.0 * 300.0), 0.01);
  EXPECT_EQ(bars.at("low").at(block), 100);
  EXPECT_EQ(bars.at("high").at(block), 300);
}

}  // namespace
}  // namespace headroom
