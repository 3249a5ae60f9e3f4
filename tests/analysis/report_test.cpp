// The report, from run directories to files: does it name what was planted, do its numbers agree with the files it
// read, are its files what they claim to be.
#include <cmath>
#include <regex>

#include "analysis/snapshot_reader.h"
#include "base/hdf5.h"
#include "tests/analysis/report_case.h"
#include "tests/base/file_size_limit.h"
#include "tests/base/write_failure.h"

namespace headroom {
namespace {

using report::ReportOptions;
using test::json_of;
using test::rows_where;
using test::text_of;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

using Report = test::ReportTest;

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
  const auto summary = json_of(out / "tables" / "summary.json").at("rows")[0];
  EXPECT_EQ(summary.at("mitigated"), "none_seen");
  EXPECT_EQ(summary.at("any_massive_layer"), false);
  const auto top = json_of(out / "tables" / "top_activations.json");
  for (const auto& row : top.at("rows")) EXPECT_EQ(row.at("massive"), false);
}

TEST_F(Report, NumbersOfTheTablesFollowFromTheSnapshot) {
  FixtureRun run;
  run.window = 71;  // longer than the part that sinks are looked for in
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
  EXPECT_EQ(summary.at("mitigated"), "no");
  EXPECT_EQ(summary.at("any_massive_layer"), true);
  EXPECT_EQ(summary.at("massive_layers"), "1;2;3");
  EXPECT_EQ(summary.at("tokens_seen"), 12000.0);
  EXPECT_EQ(summary.at("tokens_per_second"), 2000.0);
  EXPECT_EQ(summary.at("measured_at_step"), 12);

  // Of 3 heads over layers 1 to 4 of 5 the planted sink draws 0.7, 0.63 and 0.56: all above 0.3; layer 0 has none.
  const auto scale_free = json_of(out / "tables" / "scale_free.json").at("rows").at(0);
  EXPECT_NEAR(scale_free.at("sink_first"), 4.0 / 5.0, 1e-12);
  EXPECT_TRUE(scale_free.at("sink_bias").is_null());
  EXPECT_EQ(scale_free.at("sink_tokens"), 64);
  EXPECT_EQ(scale_free.at("sink_sequences"), 3);
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

  const auto data = page_data(folder_ / "out");
  EXPECT_EQ(data.at("runs")[0].at("name"), run.variant);
  std::vector<std::string> ids;
  for (const auto& figure : data.at("figures")) {
    std::size_t combinations = 1;
    for (const auto& selector : figure.at("selectors")) combinations *= selector.at("options").size();
    EXPECT_EQ(figure.at("views").size(), combinations) << figure.at("id");
    EXPECT_THAT(page, HasSubstr("id=\"figure-" + figure.at("id").get<std::string>() + "\""));
    ids.push_back(figure.at("id"));
  }
  EXPECT_THAT(ids, testing::ElementsAre("loss", "evolution", "snapshots", "layers", "ratios", "writers", "histograms",
                                        "tokens", "token-channel", "maps", "mass", "headroom", "lost", "weight-std"));
}

// The records of a CSV text: fields separated by commas, quoted where they hold commas, quotes or line breaks.
std::vector<std::vector<std::string>> records_of(const std::string& csv) {
  std::vector<std::vector<std::string>> records(1, {""});
  bool quoted = false;
  for (std::size_t i = 0; i < csv.size(); ++i) {
    const char c = csv[i];
    if (quoted && c == '"' && i + 1 < csv.size() && csv[i + 1] == '"') {
      records.back().back() += csv[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      records.back().emplace_back();
    } else if (c == '\n' && !quoted) {
      records.push_back({""});
    } else if (c != '\r' || quoted) {
      records.back().back() += c;
    }
  }
  records.pop_back();  // what follows the last line break
  return records;
}

// What a cell of the JSON form should be in CSV.
std::string csv_of(const nlohmann::json& value) {
  return value.is_null() ? "" : value.is_string() ? value.get<std::string>() : value.dump();
}

TEST_F(Report, CsvAndJsonHoldTheSameCells) {
  FixtureRun run;
  run.kv_bias = run.dyt = run.tvr = true;
  const fs::path tables = write({write_fixture(folder_, run)}) / "tables";
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(tables)) {
    if (entry.path().extension() != ".csv") continue;
    SCOPED_TRACE(entry.path());
    names.push_back(entry.path().stem());
    const auto json = json_of(fs::path(entry.path()).replace_extension(".json"));
    const auto records = records_of(text_of(entry.path()));
    ASSERT_EQ(records.size(), json.at("rows").size() + 1);
    EXPECT_GT(json.at("rows").size(), 0u);
    ASSERT_EQ(records[0].size(), json.at("columns").size());
    for (std::size_t column = 0; column < records[0].size(); ++column) {
      const std::string key = json.at("columns")[column].at("key");
      ASSERT_EQ(records[0][column], key);
      for (std::size_t row = 0; row + 1 < records.size(); ++row)
        ASSERT_EQ(records[row + 1][column], csv_of(json.at("rows")[row].at(key))) << key << ", row " << row;
    }
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("summary", "sentences", "scale_free", "massive_elements", "layers",
                                                   "sites", "top_activations", "channels", "attention", "histograms",
                                                   "tokens", "writers", "steps", "evaluations", "monitor", "tvr",
                                                   "snapshots", "weights"));
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
  EXPECT_TRUE(fs::exists(write({runs[1]}) / "figures" / "tokens-max-sentence-0-bos.svg"));
}

TEST_F(Report, CutOffLastLineOfMetricsIsLeftOut) {
  const fs::path directory = write_fixture(folder_, {});
  std::ofstream(directory / "metrics.jsonl", std::ios::app) << "{\"step\": 13, \"los";
  const fs::path out = write({directory});
  EXPECT_THAT(text_of(out / "index.html"), HasSubstr("line 14 of metrics.jsonl is cut off and was left out"));
  EXPECT_EQ(json_of(out / "tables" / "summary.json").at("rows")[0].at("tokens_seen"), 12000.0);
}

TEST_F(Report, MetricsOfARunThatDidNoStepAreSaidToBe) {
  const fs::path directory = write_fixture(folder_, {});
  std::ofstream(directory / "metrics.jsonl") << "{\"run\": \"a\", \"variant\": \"baseline\"}\n";
  EXPECT_THAT(text_of(write({directory}) / "index.html"), HasSubstr("metrics.jsonl holds no step yet"));
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

TEST_F(Report, AFullDiskLeavesTheEarlierReportAndNothingElse) {
  const fs::path run = write_fixture(folder_, {});
  const std::string earlier = text_of(write({run}) / "index.html");
  {
    const test::FileSizeLimit limit(50'000);  // less than some of the tables and the page
    EXPECT_THAT(test::failure([&] { write({run}); }), HasSubstr("File too large"));
  }
  EXPECT_EQ(text_of(folder_ / "out" / "index.html"), earlier);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);  // the run and the report
}

TEST_F(Report, ReplacesAReportButNothingElse) {
  const fs::path run = write_fixture(folder_, {});
  write({run});
  EXPECT_TRUE(fs::exists(write({run}) / "index.html"));
  // The work is done in a directory of its own, of which nothing is left, and nobody's NAME.partial is touched.
  fs::create_directories(folder_ / "out.partial");
  write({run});
  EXPECT_TRUE(fs::exists(folder_ / "out.partial"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 3);
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
