// What the figures and the tables of sequences show, and what they say of what they leave out.
#include <cmath>
#include <regex>

#include "analysis/report/format.h"
#include "tests/analysis/report_case.h"

namespace headroom {
namespace {

using test::json_of;
using test::rows_where;
using test::text_of;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class ReportFigures : public test::ReportTest {
 protected:
  fs::path run_of(const std::function<void(FixtureRun&)>& change) {
    FixtureRun run;
    change(run);
    return write_fixture(folder_, run);
  }
};

// Follows tags and entities of an XML document; returns what is wrong with it, empty if nothing.
std::string xml_error(const std::string& xml) {
  static const std::regex kToken("<\\?[^?]*\\?>|<(/?)([A-Za-z][\\w]*)((?:\\s+[\\w:-]+=\"[^\"<]*\")*)\\s*(/?)>|[^<]+");
  static const std::regex kEntity("&(amp|lt|gt|quot|#\\d+);");
  std::vector<std::string> open;
  std::size_t at = 0;
  for (std::sregex_iterator it(xml.begin(), xml.end(), kToken), end; it != end; ++it) {
    if (static_cast<std::size_t>(it->position()) != at) return "unreadable at " + xml.substr(at, 60);
    at += static_cast<std::size_t>(it->length());
    const std::string rest = std::regex_replace(it->str(), kEntity, "");
    if (rest.find('&') != std::string::npos) return "a bare & in " + it->str();
    const std::string name = (*it)[2];
    if (name.empty()) continue;
    if ((*it)[1].length() > 0) {
      if (open.empty() || open.back() != name) return "</" + name + "> closes nothing";
      open.pop_back();
    } else if ((*it)[4].length() == 0) {
      open.push_back(name);
    }
  }
  if (at != xml.size()) return "unreadable at " + xml.substr(at, 60);
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

TEST_F(ReportFigures, FiguresAreWellFormedSvg) {
  FixtureRun run;
  run.variant = "a <&> \"b\"";
  run.kv_bias = run.dyt = true;
  const fs::path out = write({write_fixture(folder_, run)});
  int count = 0;
  for (const auto& entry : fs::directory_iterator(out / "figures")) {
    const std::string svg = text_of(entry.path());
    EXPECT_EQ(xml_error(svg), "") << entry.path();
    EXPECT_THAT(svg, HasSubstr("<svg xmlns="));
    EXPECT_THAT(svg, Not(HasSubstr("nan"))) << entry.path();
    EXPECT_THAT(svg, Not(HasSubstr("\"inf"))) << entry.path();
    ++count;
  }
  EXPECT_GT(count, 20);
  EXPECT_TRUE(fs::exists(out / "figures" / "bias-mass.svg"));
  EXPECT_TRUE(fs::exists(out / "figures" / "dyt-alpha-mlp.svg"));
  EXPECT_TRUE(fs::exists(out / "figures" / "token-channel-a-b-sentence-0-bos-layer-1.svg"));
}

TEST_F(ReportFigures, EvolutionIsShownFromTheSnapshotsWithoutAMonitor) {
  const fs::path out = write({run_of([](FixtureRun& r) {
    r.monitor = false;
    r.snapshots = {3, 6, 12};
  })});
  const auto data = page_data(out);
  for (const auto& one : data.at("figures")) EXPECT_NE(one.at("id"), "evolution");
  const auto snapshots = figure(out, "snapshots");
  EXPECT_THAT(
      snapshots.at("selectors")[0].at("options").get<std::vector<std::string>>(),
      testing::ElementsAre("calibration, BOS", "calibration, no BOS", "“Summer is warm. Winter is cold.” with BOS",
                           "“Summer is warm. Winter is cold.” without BOS"));
  EXPECT_THAT(snapshots.at("selectors")[1].at("options").get<std::vector<std::string>>(),
              testing::ElementsAre("largest |h|", "2nd largest |h|", "3rd largest |h|", "median |h|", "max / median",
                                   "crest factor"));
  // The planted activation grows linearly: of 420 a quarter, a half and all of it, in layer 1 of the first view.
  const auto panel = snapshots.at("views")[0].at("panels")[0];
  EXPECT_EQ(panel.at("x").at("categories"), nlohmann::json({"3", "6", "12"}));
  EXPECT_EQ(panel.at("cells")[3], 105);
  EXPECT_EQ(panel.at("cells")[4], 210);
  EXPECT_EQ(panel.at("cells")[5], 420);
}

TEST_F(ReportFigures, TheMonitorsMedianEvolvesToo) {
  const auto evolution = figure(write({run_of([](FixtureRun&) {})}), "evolution");
  EXPECT_EQ(evolution.at("selectors")[0].at("options"), nlohmann::json({"max |h|", "median |h|", "max / median"}));
  EXPECT_NEAR(evolution.at("views")[1].at("panels")[0].at("cells")[0], 0.067, 1e-6);
}

TEST_F(ReportFigures, MapsShowTheBiasSlotApartFromTheKeys) {
  const fs::path out = write({run_of([](FixtureRun& r) { r.kv_bias = true; })});
  const auto view = figure(out, "maps").at("views")[0];
  EXPECT_THAT(view.at("note").get<std::string>(), HasSubstr("set apart, is the attention to the bias slot"));
  const auto panel = view.at("panels")[3];  // layer 1, head 0: 0.7 to the slot
  const auto keys = panel.at("x").at("categories").get<std::vector<std::string>>();
  ASSERT_EQ(keys.size(), 11u);  // 9 tokens
  EXPECT_EQ(keys[9], "");
  EXPECT_EQ(keys[10], "bias slot");
  for (std::size_t query = 0; query < 9; ++query) {
    EXPECT_TRUE(panel.at("cells")[query * 11 + 9].is_null());
    EXPECT_NEAR(panel.at("cells")[query * 11 + 10], 0.7, 1e-3);
  }
  const auto plain = figure(write({run_of([](FixtureRun&) {})}), "maps").at("views")[0];
  EXPECT_FALSE(plain.contains("note"));
  EXPECT_EQ(plain.at("panels")[0].at("x").at("categories").size(), 9u);
}

TEST_F(ReportFigures, WhatIsLeftOutOfMapsIsSaidAndTheFirstMassiveLayerIsNot) {
  // 18 heads and 20 layers are more than 16 heads and 144 maps; the sentence has more than 48 tokens.
  const fs::path out = write({run_of([](FixtureRun& r) {
    r.heads = 18;
    r.layers = 20;
    r.first_layer = 13;
    r.sentences = {std::vector<std::string>(60, "▁on")};
    r.calibration = 1;
    r.snapshots = {12};
  })});
  const auto view = figure(out, "maps").at("views")[0];
  const std::string note = view.at("note");
  EXPECT_THAT(note, HasSubstr("Heads 0–15 of 18 are shown"));
  EXPECT_THAT(note, HasSubstr("Tokens 0–31 of 61 are shown"));
  EXPECT_THAT(note, testing::ContainsRegex("Layers .*13.* of 20 are shown"));
  EXPECT_EQ(view.at("panels").size() % 16, 0u);
  EXPECT_LE(view.at("panels").size(), 144u);
  std::vector<std::string> titles;
  for (const auto& panel : view.at("panels")) titles.push_back(panel.at("title"));
  EXPECT_THAT(titles, Contains("layer 13 head 15"));
  EXPECT_THAT(figure(out, "tokens").at("views")[0].at("panels")[0].at("title").get<std::string>(),
              HasSubstr("tokens 0–47 of 61 are shown"));
}

TEST_F(ReportFigures, TokensAreShownByMaxRatioAndCrest) {
  const fs::path out = write({run_of([](FixtureRun&) {})});
  const auto tokens = figure(out, "tokens");
  EXPECT_EQ(tokens.at("views")[0].at("panels")[0].at("y").at("label"), "token");
  const auto rows = rows_where(json_of(out / "tables" / "tokens.json"),
                               {{"set", "“Summer is warm. Winter is cold.” with BOS"}, {"layer", 1}, {"position", 0}});
  ASSERT_EQ(rows.size(), 1u);
  // Row 0, layer 1 of each of the three measures' views.
  for (const auto& [index, key] : {std::pair{0, "max"}, std::pair{1, "ratio"}, std::pair{2, "crest"}}) {
    const double expected = rows[0].at(key);
    EXPECT_NEAR(tokens.at("views")[index].at("panels")[0].at("cells")[1].get<double>(), expected, 1e-4 * expected)
        << key;
  }
}

TEST_F(ReportFigures, LostValuesCanBeSeenAtEverySite) {
  const auto lost = figure(write({run_of([](FixtureRun&) {})}), "lost");
  EXPECT_THAT(
      lost.at("selectors")[1].at("options").get<std::vector<std::string>>(),
      testing::ElementsAre("embedding", "attention norm", "attention", "mlp norm", "mlp", "block", "final norm"));
  EXPECT_EQ(lost.at("selectors")[1].at("initial"), 5);
  // The MLP of layer 1 writes the planted value: one scale empties its tensor, but not the norm's before it.
  const auto percent = [&](std::size_t site) {
    return lost.at("views")[site].at("panels")[0].at("series")[0].at("y")[1];
  };
  EXPECT_GT(percent(4), 90);
  EXPECT_LT(percent(3), 10);
}

TEST_F(ReportFigures, BarsAreTheLargestOverSequencesWithTheMeanInTheReadOut) {
  const fs::path out = write({run_of([](FixtureRun& r) { r.planted = 0.0; })});
  const auto bars = figure(out, "headroom").at("views")[0].at("panels")[0].at("series")[0];
  double largest = 0.0;
  double mean = 0.0;
  for (const auto& row :
       rows_where(json_of(out / "tables" / "sites.json"), {{"set", "calibration, BOS"}, {"site", "block_output"}})) {
    if (row.at("largest") > largest) {
      largest = row.at("largest");
      mean = row.at("max");
    }
  }
  EXPECT_GT(largest, mean);
  EXPECT_NEAR(bars.at("y")[5].get<double>(), largest, 1e-4 * largest);
  EXPECT_THAT(bars.at("notes")[5].get<std::string>(), HasSubstr("mean over sequences " + report::format_number(mean)));
}

TEST_F(ReportFigures, TvrsTargetFollowsTheLayerWhereItIsScaled) {
  const auto figure_of = [&](bool scaled) {
    return figure(write({run_of([&](FixtureRun& r) {
                    r.tvr = true;
                    r.layer_scaled = scaled;
                  })}),
                  "weight-std");
  };
  const auto line = figure_of(true).at("views")[0].at("panels")[0].at("series")[1];
  EXPECT_EQ(line.at("name"), "TVR target of baseline");
  EXPECT_NEAR(line.at("y")[0], 0.01, 1e-9);
  EXPECT_NEAR(line.at("y")[3], 0.005, 1e-9);
  EXPECT_THAT(figure_of(true).at("views")[1].at("panels")[0].at("rules")[0].at("label").get<std::string>(),
              HasSubstr("mean of layers"));
  EXPECT_NEAR(figure_of(false).at("views")[0].at("panels")[0].at("series")[1].at("y")[3], 0.01, 1e-9);
}

TEST_F(ReportFigures, MassiveActivationsAreCountedByPlace) {
  const fs::path out = write({run_of([](FixtureRun&) {})});
  const auto table = json_of(out / "tables" / "massive_elements.json");
  const auto rows = rows_where(table, {{"set", "calibration, no BOS"}});
  ASSERT_EQ(rows.size(), 3u);  // layers 1 to 3
  EXPECT_EQ(rows[0].at("layer"), 1);
  EXPECT_EQ(rows[0].at("channel"), 17);
  EXPECT_EQ(rows[0].at("position"), 2);
  EXPECT_EQ(rows[0].at("sequences"), 3);
  EXPECT_EQ(rows[0].at("at_least"), false);
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("3 of 3"));

  // Where noise is massive too, the kept values are only the largest of them.
  report::ReportOptions options;
  options.runs = {folder_ / "run"};
  options.out = folder_ / "low";
  options.thresholds = {.absolute = 0.01, .ratio = 0.1};
  const fs::path low = report::write_report(options).parent_path();
  EXPECT_EQ(json_of(low / "tables" / "massive_elements.json").at("rows")[0].at("at_least"), true);
  EXPECT_THAT(text_of(low / "index.html"), HasSubstr("at least 3 of 3"));
}

TEST_F(ReportFigures, SentencesHaveATableLikeThePublishedOne) {
  const auto row = rows({run_of([](FixtureRun& r) { r.planted_without_bos = false; })}, "sentences")[0];
  EXPECT_EQ(row.at("sentence"), "Summer is warm. Winter is cold.");
  EXPECT_EQ(row.at("max_bos"), 420.0);
  EXPECT_EQ(row.at("max_bos_layer"), 1);
  EXPECT_LT(row.at("max_no_bos"), 2.0);
  EXPECT_GT(row.at("ratio_bos"), 1000.0);
}

TEST_F(ReportFigures, SentencesGoByTheirTextsNotByTheirPlace) {
  const fs::path first = run_of([](FixtureRun& r) {
    r.name = "a";
    r.sentences = {{"▁Winter", "▁is", "▁cold"}, {"▁Summer", "▁is", "▁warm"}};
  });
  const fs::path second = run_of([](FixtureRun& r) {
    r.name = "b";
    r.sentences = {{"▁Summer", "▁is", "▁warm"}};
  });
  const auto layers = figure(write({first, second}), "layers");
  EXPECT_THAT(layers.at("selectors")[0].at("options").get<std::vector<std::string>>(),
              testing::ElementsAre("calibration, BOS", "calibration, no BOS", "“Winter is cold” with BOS",
                                   "“Winter is cold” without BOS", "“Summer is warm” with BOS",
                                   "“Summer is warm” without BOS"));
  EXPECT_EQ(layers.at("views")[2].at("panels").size(), 1u);  // one run has it
  EXPECT_EQ(layers.at("views")[4].at("panels").size(), 2u);
}

TEST_F(ReportFigures, WithoutATokenizerOnlyWindowsWithoutBosRemain) {
  const fs::path out = write({run_of([](FixtureRun& r) { r.tokenizer = false; })});
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("No snapshot holds raw states of a probe sentence."));
  const auto summary = json_of(out / "tables" / "summary.json");
  EXPECT_EQ(summary.at("rows")[0].at("mitigated"), "no");
  for (const auto& column : summary.at("columns")) {
    if (column.at("key") == "max") {
      EXPECT_EQ(column.at("help"), "largest layer mean of max|h|: calibration, no BOS");
    }
  }
}

TEST_F(ReportFigures, WithoutCalibrationTheFirstSentenceStandsForTheRun) {
  const fs::path out = write({run_of([](FixtureRun& r) {
    r.calibration = 0;
    r.planted_without_bos = false;
  })});
  const auto summary = json_of(out / "tables" / "summary.json");
  EXPECT_EQ(summary.at("rows")[0].at("max"), 420.0);
  EXPECT_LT(summary.at("rows")[0].at("max_no_bos"), 2.0);
  for (const auto& column : summary.at("columns")) {
    if (column.at("key") == "max_no_bos") {
      EXPECT_THAT(column.at("help").get<std::string>(), HasSubstr("“Summer is warm. Winter is cold.” without BOS"));
    }
  }
}

TEST_F(ReportFigures, RunsWhoseLabelsMakeOneFileNameKeepTheirFigures) {
  const fs::path first = run_of([](FixtureRun& r) {
    r.name = "a";
    r.variant = "KV bias";
  });
  const fs::path second = run_of([](FixtureRun& r) {
    r.name = "b";
    r.variant = "kv-bias";
  });
  const fs::path out = write({first, second});
  EXPECT_TRUE(fs::exists(out / "figures" / "attention-kv-bias-sentence-0-bos.svg"));
  EXPECT_TRUE(fs::exists(out / "figures" / "attention-kv-bias-sentence-0-bos-2.svg"));
  EXPECT_EQ(figure(out, "maps").at("views")[2].at("svg"), "attention-kv-bias-sentence-0-bos-2");
}

TEST_F(ReportFigures, HostileTokensStayText) {
  const fs::path out = write({run_of([](FixtureRun& r) {
    r.sentences = {{"▁</script><script>alert(1)</script>", "▁<img src=x onerror=alert(1)>", "▁&\"'", "▁\xFF\x01"}};
  })});
  const std::string page = text_of(out / "index.html");
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  page_data(out);  // still JSON
  for (const auto& entry : fs::directory_iterator(out / "figures"))
    EXPECT_EQ(xml_error(text_of(entry.path())), "") << entry.path();
}

}  // namespace
}  // namespace headroom
