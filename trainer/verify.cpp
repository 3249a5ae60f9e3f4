#include "trainer/verify.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "analysis/snapshot_reader.h"
#include "analysis/snapshot_schema.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/checkpoint_reader.h"

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
    const auto checkpoint = CheckpointDirectory(directory / "checkpoints").latest();
    if (!checkpoint) throw Error(ExitCode::bad_checkpoint, fmt::format("{}: no checkpoint", directory.string()));
    return read_tensors(*checkpoint, read_manifest(*checkpoint), "weights");
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

// An array of a snapshot, whatever its type in the file.
struct NamedArray {
  std::string name;
  bool places = false;  // tokens, channels, counts: whole numbers that are equal or not
  std::vector<double> values;
};

std::vector<NamedArray> arrays_of(const SnapshotFile& file) {
  std::vector<NamedArray> arrays;
  const auto add = [&](const std::string& prefix) {
    return [&arrays, prefix](const char* name, const auto& values, const H5Dims&) {
      using Value = typename std::decay_t<decltype(values)>::value_type;
      arrays.push_back({prefix + name, std::is_integral_v<Value>, {values.begin(), values.end()}});
    };
  };
  for (const auto& [site, statistics] : file.sites) {
    const std::string prefix = std::string(name_of(site)) + "/";
    snapshot_schema::for_each_array(statistics, statistics.layers, file.dims, add(prefix));
  }
  snapshot_schema::for_each_array(file.attention, file.dims, add(""));
  add("weights/")("mean", file.weights.mean, {});
  add("weights/")("std", file.weights.std, {});
  add("weights/")("max_abs", file.weights.max_abs, {});
  return arrays;
}

// How far an array is from the reference: the largest distance over the largest magnitude of its kind; of places and
// counts the share that differs. A NaN equals a NaN: both stand after a sequence's end.
double distance(const NamedArray& expected, const NamedArray& actual, double magnitude) {
  HEADROOM_CHECK(expected.name == actual.name && expected.values.size() == actual.values.size(),
                 "{} with {} values, {} with {}", expected.name, expected.values.size(), actual.name,
                 actual.values.size());
  double largest = 0.0;
  double differing = 0.0;
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    const double want = expected.values[i];
    const double have = actual.values[i];
    if (std::isnan(want) && std::isnan(have)) continue;
    raise(largest, std::abs(have - want));
    differing += want != have ? 1.0 : 0.0;
  }
  if (expected.places) return differing / std::max(1.0, static_cast<double>(expected.values.size()));
  return magnitude > 0.0 ? largest / magnitude : largest;
}

double largest_magnitude(const NamedArray& array) {
  double largest = 0.0;
  for (const double value : array.values) largest = std::max(largest, std::abs(value));  // NaNs do not count
  return largest;
}

void compare_snapshots(const fs::path& reference, const fs::path& run, LayoutComparison& result) {
  const SnapshotReader expected_file = SnapshotReader::open(newest_snapshot(reference));
  const SnapshotReader actual_file = SnapshotReader::open(newest_snapshot(run));
  result.same_data = result.same_data && expected_file.contents().probe.ids == actual_file.contents().probe.ids;
  const std::vector<NamedArray> expected = arrays_of(expected_file.contents());
  const std::vector<NamedArray> actual = arrays_of(actual_file.contents());
  HEADROOM_CHECK(expected.size() == actual.size(), "{} and {} arrays", expected.size(), actual.size());
  // A mean may be zero but for rounding; it is measured by what it is the mean of.
  std::map<std::string, double> magnitudes;
  for (const NamedArray& array : expected) magnitudes[array.name] = largest_magnitude(array);
  const auto magnitude_of = [&](const std::string& name) {
    if (!name.ends_with("/mean")) return magnitudes.at(name);
    const std::string whole = name.substr(0, name.size() - 4);
    return magnitudes.at(whole + (magnitudes.contains(whole + "rms") ? "rms" : "max_abs"));
  };
  for (std::size_t index = 0; index < expected.size(); ++index) {
    const double difference = distance(expected[index], actual[index], magnitude_of(expected[index].name));
    if (raise(result.snapshot, difference)) result.worst_statistic = expected[index].name;
  }
}

}  // namespace

VerifyTolerance tolerance_for(const std::string& dtype) {
  if (dtype == "f64") return {.loss = 1e-9, .parameters = 1e-6, .snapshot = 1e-5};
  if (dtype == "bf16") return {.loss = 2e-2, .parameters = 5e-2, .snapshot = 1e-1};
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
