// The report, from run directories to files: does it name what was planted, do its numbers agree with the files it
// read, are its files what they claim to be.
#include "analysis/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "analysis/snapshot_reader.h"
#include "base/error.h"
#include "base/hdf5.h"
#include "tests/analysis/report_fixture.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using report::ReportOptions;
using testing::HasSubstr;
using testing::Not;

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  EXPECT_TRUE(in) << file;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

nlohmann::json json_of(const fs::path& file) {
  return nlohmann::json::parse(text_of(file));
}

// The rows of a table whose cells have these values.
std::vector<nlohmann::json> rows_where(const nlohmann::json& table, const nlohmann::json& wanted) {
  std::vector<nlohmann::json> found;
  for (const auto& row : table.at("rows")) {
    bool same = true;
    for (const auto& [key, value] : wanted.items()) same = same && row.at(key) == value;
    if (same) found.push_back(row);
  }
  return found;
}

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

class Report : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("report-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::vector<fs::path>& runs) {
    ReportOptions options;
    options.runs = runs;
    options.out = folder_ / "out";
    return report::write_report(options).parent_path();
  }
  std::string findings(const fs::path& report) {
    std::string all;
    for (const auto& finding : json_of(report / "tables" / "findings.json"))
      all += finding.at("text").get<std::string>() + "\n";
    return all;
  }
  void expect_error(const std::vector<fs::path>& runs, ExitCode code, const std::string& words) {
    try {
      write(runs);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
    EXPECT_FALSE(fs::exists(folder_ / "out"));
  }

  fs::path folder_;
};

TEST_F(Report, NamesLayerTokenChannelAndWriterOfThePlantedActivation) {
  FixtureRun run;
  run.first_layer = 2;
  run.channel = 13;
  const fs::path out = write({write_fixture(folder_, run)});
  const std::string text = findings(out);
  EXPECT_THAT(text, HasSubstr("The largest activation is 420 at layer 2, channel 13, position 0 (token “<s>”)"));
  EXPECT_THAT(text, HasSubstr("In layer 2 the largest value sits in channel 13 in all 3 sequences"));
  EXPECT_THAT(text, HasSubstr("The MLP output of layer 2 adds 420 to channel 13 at position 0, 100 % of"));
  EXPECT_THAT(text, HasSubstr("layers 2 and 3, the first being layer 2"));

  const auto top = rows_where(json_of(out / "tables" / "top_activations.json"),
                              {{"set", "calibration, no BOS"}, {"layer", 2}, {"rank", 1}});
  ASSERT_EQ(top.size(), 3u);
  for (const auto& row : top) {
    EXPECT_EQ(row.at("channel"), 13);
    EXPECT_EQ(row.at("position"), 2);
    EXPECT_FLOAT_EQ(row.at("value").get<float>(), 420.0f);
    EXPECT_EQ(row.at("massive"), true);
  }
}

TEST_F(Report, WithoutAPlantedActivationNothingIsMassive) {
  FixtureRun run;
  run.planted = 0.0;
  run.sink = 0.1;
  const fs::path out = write({write_fixture(folder_, run)});
  EXPECT_THAT(findings(out), HasSubstr("No layer passes both tests"));
  EXPECT_THAT(findings(out), HasSubstr("0.0012 % of the 1 B after which attention sinks"));  // 12,000 tokens
  EXPECT_EQ(json_of(out / "tables" / "summary.json").at("rows")[0].at("mitigated"), true);
  for (const auto& row : json_of(out / "tables" / "top_activations.json").at("rows"))
    EXPECT_EQ(row.at("massive"), false);
}

TEST_F(Report, NumbersOfTheTablesFollowFromTheSnapshot) {
  FixtureRun run;
  run.window = 31;  // long enough for key 0 to draw little where nothing is planted
  const fs::path directory = write_fixture(folder_, run);
  const fs::path out = write({directory});
  const SnapshotReader reader = SnapshotReader::open(directory / "snapshots" / "step-00000012.h5");
  const SnapshotFile& file = reader.contents();
  const SiteStatistics& site = file.sites.at(Site::block_output);

  double largest = 0.0;
  double largest_ratio = 0.0;
  for (std::int64_t layer = 0; layer < run.layers; ++layer) {
    double max = 0.0, median = 0.0, crest = 0.0, kurtosis = 0.0;
    for (std::size_t s = 0; s < file.probe.kind.size(); ++s) {
      if (file.probe.kind[s] != "calibration" || !file.probe.bos[s]) continue;
      const std::size_t at = static_cast<std::size_t>(layer) * file.probe.kind.size() + s;
      max += site.max_abs[at] / 3.0;
      median += site.median_abs[at] / 3.0;
      crest += static_cast<double>(site.max_abs[at]) / site.rms[at] / 3.0;
      kurtosis += site.kurtosis[at] / 3.0;
    }
    const auto row =
        rows_where(json_of(out / "tables" / "layers.json"), {{"set", "calibration, BOS"}, {"layer", layer}});
    ASSERT_EQ(row.size(), 1u);
    EXPECT_NEAR(row[0].at("max"), max, 1e-9 * max);
    EXPECT_NEAR(row[0].at("median"), median, 1e-9 * median);
    EXPECT_NEAR(row[0].at("ratio"), max / median, 1e-9 * max / median);
    EXPECT_NEAR(row[0].at("crest"), crest, 1e-9 * crest);
    EXPECT_NEAR(row[0].at("kurtosis"), kurtosis, 1e-9 * kurtosis);
    EXPECT_EQ(row[0].at("massive"), max > 100.0 && max >= 1000.0 * median);
    largest = std::max(largest, max);
    largest_ratio = std::max(largest_ratio, max / median);
  }
  const auto summary = json_of(out / "tables" / "summary.json").at("rows").at(0);
  EXPECT_NEAR(summary.at("max"), largest, 1e-9 * largest);
  EXPECT_EQ(summary.at("max_layer"), 1);
  EXPECT_NEAR(summary.at("ratio"), largest_ratio, 1e-9 * largest_ratio);
  EXPECT_EQ(summary.at("mitigated"), false);
  EXPECT_EQ(summary.at("massive_layers"), "1;2;3");
  EXPECT_EQ(summary.at("tokens_seen"), 12000.0);
  EXPECT_EQ(summary.at("tokens_per_second"), 2000.0);

  // Of 3 heads over layers 1 to 4 of 5 the planted sink draws 0.7, 0.63 and 0.56: all above 0.3; layer 0 has none.
  const auto scale_free = json_of(out / "tables" / "scale_free.json").at("rows").at(0);
  EXPECT_NEAR(scale_free.at("sink_first"), 4.0 / 5.0, 1e-12);
  EXPECT_TRUE(scale_free.at("sink_bias").is_null());
}

TEST_F(Report, QualityComesFromTheMetrics) {
  const fs::path directory = write_fixture(folder_, {});
  double perplexity = 0.0;
  double loss = 0.0;
  std::ifstream in(directory / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json.contains("eval")) perplexity = json.at("eval").at("perplexity");
    if (json.contains("loss")) loss = json.at("loss");  // a twentieth of 12 steps is the last one
  }
  const auto row = json_of(write({directory}) / "tables" / "summary.json").at("rows").at(0);
  EXPECT_DOUBLE_EQ(row.at("perplexity"), perplexity);
  EXPECT_DOUBLE_EQ(row.at("train_loss"), loss);
}

TEST_F(Report, ComparesRunsWithTheBaselineAtEqualTokens) {
  FixtureRun mitigated;
  mitigated.name = "b";
  mitigated.variant = "TVR + KV bias";
  mitigated.planted = 12.0;
  mitigated.kv_bias = mitigated.tvr = true;
  mitigated.layers = 7;
  mitigated.hidden = 31;
  FixtureRun baseline;
  baseline.name = "a";
  baseline.steps = 20;  // longer than the other
  baseline.snapshots = {20};
  const fs::path out = write({write_fixture(folder_, mitigated), write_fixture(folder_, baseline)});
  const auto rows = json_of(out / "tables" / "summary.json").at("rows");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].at("run"), "baseline");
  EXPECT_EQ(rows[0].at("mitigated"), false);
  EXPECT_EQ(rows[1].at("run"), "TVR + KV bias");
  EXPECT_EQ(rows[1].at("mitigated"), true);
  EXPECT_EQ(rows[0].at("compared_at_tokens"), 12000.0);
  EXPECT_EQ(rows[0].at("tokens_seen"), 20000.0);
  // The bias slot draws 0.7 and less from layer 1 on.
  EXPECT_NEAR(json_of(out / "tables" / "scale_free.json").at("rows")[1].at("sink_bias"), 6.0 / 7.0, 1e-12);
  const std::string text = findings(out);
  EXPECT_THAT(text, HasSubstr("Massive layers in 1 of 2 runs: baseline; none in TVR + KV bias."));
  EXPECT_THAT(text, HasSubstr("Against baseline: max |h| is 35 times smaller (12.0 against 420)"));
  EXPECT_THAT(text, HasSubstr("TVR ran 2 times and rescaled 13 matrices in all"));
  EXPECT_THAT(text, HasSubstr("The runs differ in length (12 k to 20 k tokens)"));
}

TEST_F(Report, ThresholdsAreOptions) {
  ReportOptions options;
  options.runs = {write_fixture(folder_, {})};
  options.thresholds.absolute = 500.0;
  const fs::path index = report::write_report(options);
  EXPECT_EQ(index, fs::weakly_canonical(folder_ / "run" / "report" / "index.html"));
  EXPECT_THAT(findings(index.parent_path()),
              HasSubstr("No layer passes both tests (max |h| > 500 and ≥ 1,000 × median)"));
}

TEST_F(Report, PageNeedsNoNetworkAndHoldsItsData) {
  FixtureRun run;
  run.variant = "</script><b>&\"odd\"";
  const std::string page = text_of(write({write_fixture(folder_, run)}) / "index.html");
  EXPECT_FALSE(std::regex_search(page, std::regex("(src|href)\\s*=\\s*[\"']?\\s*(https?:)?//", std::regex::icase)));
  EXPECT_THAT(page, Not(HasSubstr("@import")));
  EXPECT_FALSE(std::regex_search(page, std::regex("url\\(\\s*[\"']?(https?:)?//")));
  EXPECT_FALSE(std::regex_search(page, std::regex("<(link|iframe|img)\\b")));
  EXPECT_THAT(page, HasSubstr("&lt;/script&gt;&lt;b&gt;&amp;&quot;odd&quot;"));

  const std::string mark = "type=\"application/json\">";
  const std::size_t begin = page.find(mark) + mark.size();
  const auto data = nlohmann::json::parse(page.substr(begin, page.find("</script>", begin) - begin));
  EXPECT_EQ(data.at("runs")[0].at("name"), run.variant);
  std::vector<std::string> ids;
  for (const auto& figure : data.at("figures")) {
    std::size_t combinations = 1;
    for (const auto& selector : figure.at("selectors")) combinations *= selector.at("options").size();
    EXPECT_EQ(figure.at("views").size(), combinations) << figure.at("id");
    EXPECT_THAT(page, HasSubstr("id=\"figure-" + figure.at("id").get<std::string>() + "\""));
    ids.push_back(figure.at("id"));
  }
  EXPECT_THAT(ids, testing::ElementsAre("loss", "evolution", "layers", "ratios", "writers", "histograms", "tokens",
                                        "token-channel", "maps", "mass", "headroom", "lost", "weight-std"));
}

TEST_F(Report, FiguresAreWellFormedSvg) {
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
  EXPECT_TRUE(fs::exists(out / "figures" / "token-channel-a-b-sentence-0-layer-1.svg"));
}

TEST_F(Report, CsvAndJsonHoldTheSameRows) {
  const fs::path tables = write({write_fixture(folder_, {})}) / "tables";
  int count = 0;
  for (const auto& entry : fs::directory_iterator(tables)) {
    if (entry.path().extension() != ".csv") continue;
    ++count;
    const auto json = json_of(fs::path(entry.path()).replace_extension(".json"));
    const std::string csv = text_of(entry.path());
    // A line break inside quotes belongs to its field.
    std::size_t lines = 0;
    bool quoted = false;
    for (const char c : csv) {
      quoted = quoted != (c == '"');
      lines += c == '\n' && !quoted ? 1 : 0;
    }
    EXPECT_EQ(lines, json.at("rows").size() + 1) << entry.path();
    EXPECT_GT(json.at("rows").size(), 0u) << entry.path();
    for (const auto& column : json.at("columns"))
      EXPECT_THAT(csv.substr(0, csv.find('\r')), HasSubstr(column.at("key").get<std::string>()));
  }
  EXPECT_EQ(count, 9);
}

TEST_F(Report, MissingPartsAreSaidAndTheRestIsShown) {
  FixtureRun without_snapshots;
  without_snapshots.name = "loss-only";
  without_snapshots.snapshots = {};
  FixtureRun without_metrics;
  without_metrics.name = "states-only";
  const std::vector<fs::path> runs = {write_fixture(folder_, without_snapshots),
                                      write_fixture(folder_, without_metrics)};
  fs::remove(runs[1] / "metrics.jsonl");
  fs::remove(runs[1] / "config.toml");
  const fs::path out = write(runs);
  const std::string page = text_of(out / "index.html");
  EXPECT_THAT(page, HasSubstr("there is no snapshot: only what metrics.jsonl holds can be shown"));
  EXPECT_THAT(page, HasSubstr("metrics.jsonl is missing or empty"));
  EXPECT_THAT(page, HasSubstr("the configuration is the one kept in the last snapshot"));
  const auto rows = json_of(out / "tables" / "summary.json").at("rows");
  EXPECT_TRUE(rows[0].at("max").is_null());
  EXPECT_TRUE(rows[0].at("perplexity").is_number());
  EXPECT_TRUE(rows[1].at("max").is_number());
  EXPECT_TRUE(rows[1].at("perplexity").is_null());
  // Each alone makes a report too.
  EXPECT_TRUE(fs::exists(write({runs[0]}) / "figures" / "loss.svg"));
  EXPECT_TRUE(fs::exists(write({runs[1]}) / "figures" / "tokens-0.svg"));
}

TEST_F(Report, CutOffLastLineOfMetricsIsLeftOut) {
  const fs::path directory = write_fixture(folder_, {});
  std::ofstream(directory / "metrics.jsonl", std::ios::app) << "{\"step\": 13, \"los";
  const fs::path out = write({directory});
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("line 14 of metrics.jsonl is cut off and was left out"));
  EXPECT_EQ(json_of(out / "tables" / "summary.json").at("rows")[0].at("tokens_seen"), 12000.0);
}

TEST_F(Report, RefusesWhatIsNoRun) {
  fs::create_directories(folder_ / "empty");
  expect_error({folder_ / "empty"}, ExitCode::bad_data, "neither metrics.jsonl nor snapshots");
  expect_error({folder_ / "absent"}, ExitCode::bad_data, "absent is not a directory");

  const fs::path damaged = write_fixture(folder_, {});
  std::ofstream(damaged / "metrics.jsonl", std::ios::app) << "no record\n";
  expect_error({damaged}, ExitCode::bad_data, "metrics.jsonl:14");
}

TEST_F(Report, RefusesForeignAndDamagedSnapshotsByName) {
  const fs::path run = write_fixture(folder_, {});
  const fs::path foreign = run / "snapshots" / "step-00000013.h5";
  H5File file = H5File::create(foreign);
  file.write("x", std::vector<float>{1.0f}, {1});
  file.commit();
  expect_error({run}, ExitCode::bad_checkpoint, "step-00000013.h5");
  fs::remove(foreign);
  std::ofstream(foreign) << "not HDF5";
  expect_error({run}, ExitCode::bad_checkpoint, "step-00000013.h5");
  fs::copy_file(run / "snapshots" / "step-00000012.h5", foreign, fs::copy_options::overwrite_existing);
  fs::resize_file(foreign, fs::file_size(foreign) / 2);
  expect_error({run}, ExitCode::bad_checkpoint, "step-00000013.h5");
}

TEST_F(Report, ReplacesAReportButNothingElse) {
  const fs::path run = write_fixture(folder_, {});
  write({run});
  EXPECT_TRUE(fs::exists(write({run}) / "index.html"));
  EXPECT_FALSE(fs::exists(folder_ / "out.partial"));
  ReportOptions options;
  options.runs = {run};
  options.out = folder_ / "thesis";
  fs::create_directories(options.out);
  std::ofstream(options.out / "index.html") << "mine";
  EXPECT_THROW(report::write_report(options), Error);
  EXPECT_EQ(text_of(options.out / "index.html"), "mine");
}

}  // namespace
}  // namespace headroom
