#include "trainer/verify.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "analysis/snapshot_reader.h"
#include "trainer/checkpoint.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Raises `worst` to `value` if that is larger; a NaN is larger than everything and stays. Whether it was raised.
bool raise(double& worst, double value) {
  if (std::isnan(worst) || value <= worst) return false;
  worst = value;
  return true;
}

std::vector<json> step_records(const fs::path& run) {
  std::ifstream stream(run / "metrics.jsonl");
  std::vector<json> records;
  for (std::string line; std::getline(stream, line);) {
    json record = json::parse(line);
    if (record.contains("step")) records.push_back(std::move(record));
  }
  if (records.empty()) throw Error(ExitCode::bad_data, fmt::format("{}: no step in metrics.jsonl", run.string()));
  return records;
}

fs::path newest_snapshot(const fs::path& run) {
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(run / "snapshots")) {
    if (entry.path().extension() == ".h5") newest = std::max(newest, entry.path());
  }
  if (newest.empty()) throw Error(ExitCode::bad_data, fmt::format("{}: no snapshot", run.string()));
  return newest;
}

void compare_losses(const fs::path& reference, const fs::path& run, LayoutComparison& result) {
  const std::vector<json> expected = step_records(reference);
  const std::vector<json> actual = step_records(run);
  if (expected.size() != actual.size()) {
    throw Error(ExitCode::bad_data, fmt::format("{} has {} steps, {} has {}", reference.string(), expected.size(),
                                                run.string(), actual.size()));
  }
  for (std::size_t step = 0; step < expected.size(); ++step) {
    const auto want = expected[step].at("loss").get<double>();
    const auto have = actual[step].at("loss").get<double>();
    raise(result.loss, std::abs(have - want) / std::abs(want));
    result.same_bits = result.same_bits && have == want;
    result.same_data = result.same_data && expected[step].at("batch_crc") == actual[step].at("batch_crc");
  }
}

void compare_parameters(const fs::path& reference, const fs::path& run, LayoutComparison& result) {
  const auto newest = [](const fs::path& directory) {
    const auto checkpoint = latest_checkpoint(directory / "checkpoints");
    if (!checkpoint) throw Error(ExitCode::bad_checkpoint, fmt::format("{}: no checkpoint", directory.string()));
    return read_parameters(*checkpoint);
  };
  const std::vector<LogicalTensor> expected = newest(reference);
  const std::vector<LogicalTensor> actual = newest(run);
  HEADROOM_CHECK(expected.size() == actual.size(), "{} and {} parameters", expected.size(), actual.size());
  for (std::size_t index = 0; index < expected.size(); ++index) {
    const LogicalTensor& want = expected[index];
    const LogicalTensor& have = actual[index];
    HEADROOM_CHECK(want.name == have.name && want.values.size() == have.values.size(), "{} against {}", want.name,
                   have.name);
    double difference = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < want.values.size(); ++i) {
      difference += (have.values[i] - want.values[i]) * (have.values[i] - want.values[i]);
      norm += want.values[i] * want.values[i];
    }
    result.same_bits = result.same_bits && have.values == want.values;
    const double relative = norm > 0.0 ? std::sqrt(difference / norm) : std::sqrt(difference);
    if (raise(result.parameters, relative)) result.worst_parameter = want.name;
  }
}

void compare_statistic(const std::string& name, const std::vector<float>& expected, const std::vector<float>& actual,
                       LayoutComparison& result) {
  HEADROOM_CHECK(expected.size() == actual.size(), "{}: {} and {} values", name, expected.size(), actual.size());
  double scale = 0.0;
  double difference = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;  // after a sequence's end
    scale = std::max(scale, std::abs(static_cast<double>(expected[i])));
    raise(difference, std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
  }
  const double relative = scale > 0.0 ? difference / scale : difference;
  if (raise(result.snapshot, relative)) result.worst_statistic = name;
}

void compare_snapshots(const fs::path& reference, const fs::path& run, LayoutComparison& result) {
  const SnapshotReader expected_file = SnapshotReader::open(newest_snapshot(reference));
  const SnapshotReader actual_file = SnapshotReader::open(newest_snapshot(run));
  const SnapshotFile& expected = expected_file.contents();
  const SnapshotFile& actual = actual_file.contents();
  result.same_data = result.same_data && expected.probe.ids == actual.probe.ids;
  for (const auto& entry : expected.sites) {
    const Site site = entry.first;
    const SiteStatistics& want = entry.second;
    const SiteStatistics& have = actual.sites.at(site);
    const auto compare = [&](const char* name, std::vector<float> SiteStatistics::*member) {
      compare_statistic(fmt::format("{}/{}", name_of(site), name), want.*member, have.*member, result);
    };
    compare("max_abs", &SiteStatistics::max_abs);
    compare("median_abs", &SiteStatistics::median_abs);
    compare("rms", &SiteStatistics::rms);
    compare("std", &SiteStatistics::std);
    compare("kurtosis", &SiteStatistics::kurtosis);
    compare("mmr_mean", &SiteStatistics::mmr_mean);
    compare("channel_max", &SiteStatistics::channel_max);
    compare("token_max", &SiteStatistics::token_max);
  }
  compare_statistic("attention/mass_first", expected.attention.mass_first, actual.attention.mass_first, result);
  compare_statistic("attention/bias_mass", expected.attention.bias_mass, actual.attention.bias_mass, result);
  compare_statistic("attention/key_mass", expected.attention.key_mass, actual.attention.key_mass, result);
  compare_statistic("weights/std", expected.weights.std, actual.weights.std, result);
}

}  // namespace

VerifyTolerance tolerance_for(const std::string& dtype) {
  if (dtype == "f64") return {.loss = 1e-9, .parameters = 1e-6, .snapshot = 1e-5};
  return {.loss = 1e-5, .parameters = 1e-2, .snapshot = 1e-2};
}

LayoutComparison compare_runs(const fs::path& reference, const fs::path& run) {
  LayoutComparison result;
  result.same_bits = true;
  compare_losses(reference, run, result);
  compare_parameters(reference, run, result);
  compare_snapshots(reference, run, result);
  return result;
}

bool within(const LayoutComparison& comparison, const VerifyTolerance& tolerance) {
  // Written so that a NaN fails.
  return comparison.same_data && comparison.loss <= tolerance.loss && comparison.parameters <= tolerance.parameters &&
         comparison.snapshot <= tolerance.snapshot;
}

Layout parse_layout(const std::string& text) {
  Layout layout;
  int end = 0;
  if (std::sscanf(text.c_str(), "%dx%d%n", &layout.data, &layout.tensor, &end) != 2 ||
      static_cast<std::size_t>(end) != text.size() || layout.data < 1 || layout.tensor < 1) {
    throw Error(ExitCode::usage, fmt::format("'{}' is no layout", text), "Write DATAxTENSOR, for example 2x1.");
  }
  return layout;
}

}  // namespace headroom
