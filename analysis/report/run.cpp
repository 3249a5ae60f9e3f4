#include "analysis/report/run.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cmath>
#include <sstream>
#include <type_traits>

#include "analysis/report/groups.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom::report {
namespace {

namespace fs = std::filesystem;

toml::table parse_toml(const std::string& text, const std::string& source) {
  try {
    return toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    throw Error(ExitCode::bad_config, fmt::format("{}:{}: {}", source, error.source().begin.line, error.description()),
                "A run's config.toml is written by `headroom train`; restore it or remove it to go without.");
  }
}

std::string text_of(const toml::node& node) {
  return node.visit([](const auto& value) {
    using Value = std::remove_cvref_t<decltype(value)>;
    if constexpr (toml::is_number<Value> || toml::is_boolean<Value>) {
      return fmt::format("{}", value.get());
    } else if constexpr (toml::is_string<Value>) {
      return value.get();
    } else {
      std::ostringstream out;
      out << value;
      return out.str();
    }
  });
}

void read_settings(const toml::table& table, const std::string& prefix, Run& run) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (const toml::table* inner = node.as_table()) {
      read_settings(*inner, key + ".", run);
    } else if (key == "seed") {
      run.seed = node.value_exact<std::int64_t>();
    } else if (computes(key)) {
      run.settings[key] = text_of(node);
    }
  }
}

void read_config(const toml::table& config, Run& run) {
  // Integers only: the library converts any other number without regard to its size.
  const auto whole = [&](const char* path) { return config.at_path(path).value_exact<std::int64_t>().value_or(0); };
  const auto text = [&](const char* path) { return config.at_path(path).value_or(std::string{}); };
  Facts& facts = run.facts;
  if (const auto variant = text("variant"); !variant.empty()) run.variant = variant;
  facts.vocab_size = whole("model.vocab_size");
  facts.hidden_size = whole("model.hidden_size");
  facts.n_layers = whole("model.n_layers");
  facts.n_heads = whole("model.n_heads");
  facts.head_dim = whole("model.head_dim");
  if (facts.head_dim == 0 && facts.n_heads > 0) facts.head_dim = facts.hidden_size / facts.n_heads;
  facts.seq_len = whole("model.seq_len");
  facts.norm = text("model.norm");
  facts.kv_bias = text("model.attention.kv_bias");
  facts.tvr = config.at_path("optim.tvr.enabled").value_or(false);
  facts.tvr_layer_scaled = config.at_path("optim.tvr.layer_scaled").value_or(false);
  facts.tvr_target = config.at_path("optim.tvr.target").value_or(0.0);
  facts.dtype = text("train.dtype");
  read_settings(config, "", run);
}

// The last snapshot knows best: it saw the model as it was.
void take_snapshot_facts(const SnapshotFile& snapshot, Run& run) {
  const SnapshotProvenance& from = snapshot.provenance;
  const auto take = [](std::string& into, const std::string& value) {
    if (!value.empty()) into = value;
  };
  take(run.facts.dtype, from.dtype);
  take(run.facts.layout, from.layout);
  take(run.facts.commit, from.commit);
  take(run.facts.fingerprint, from.config_fingerprint);
  take(run.facts.corpus, from.corpus_fingerprint);
  take(run.facts.tokenizer, from.tokenizer_fingerprint);
  take(run.variant, from.variant);
  run.facts.n_layers = snapshot.dims.layers;
  run.facts.hidden_size = snapshot.dims.hidden;
  run.facts.n_heads = snapshot.dims.heads;
}

void take_metrics_facts(const nlohmann::json& line, Run& run) {
  if (!line.is_object()) return;
  const auto text = [&](const char* key, std::string& into) {
    const auto found = line.find(key);
    if (found != line.end() && found->is_string() && into.empty()) into = found->get<std::string>();
  };
  text("variant", run.variant);
  text("layout", run.facts.layout);
  text("commit", run.facts.commit);
  text("corpus", run.facts.corpus);
  text("config", run.facts.fingerprint);
  const auto parameters = line.find("parameters");
  if (parameters != line.end() && parameters->is_number()) run.facts.parameters = parameters->get<double>();
}

std::vector<fs::path> snapshot_files(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder)) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".h5") files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// One file in memory at a time, but for the last.
void read_snapshots(const fs::path& folder, const Thresholds& thresholds, Run& run) {
  for (const fs::path& file : snapshot_files(folder)) {
    SnapshotReader reader = SnapshotReader::open(file);
    const SnapshotFile& contents = reader.contents();
    const SnapshotProvenance& from = contents.provenance;
    run.history.push_back(
        {file, from.step, static_cast<double>(from.tokens_seen), contents.weights, measure_all(contents, thresholds)});
    run.files.push_back(file);
    if (!run.last || from.step >= run.last->contents().provenance.step) run.last.emplace(std::move(reader));
  }
  std::stable_sort(run.history.begin(), run.history.end(),
                   [](const HistoryPoint& a, const HistoryPoint& b) { return a.step < b.step; });
}

// What the probe set could not have, so that figures are over less than was asked for.
void take_probe_notes(const SnapshotFile& snapshot, Run& run) {
  const std::string& notes = snapshot.probe.notes;
  for (std::size_t begin = 0; begin < notes.size();) {
    const std::size_t end = std::min(notes.find('\n', begin), notes.size());
    run.remarks.push_back(notes.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace

double Facts::tvr_target_of(std::int64_t layer) const {
  return tvr_layer_scaled ? tvr_target / std::sqrt(static_cast<double>(layer + 1)) : tvr_target;
}

const std::vector<SetMeasures>& Run::sets() const {
  static const std::vector<SetMeasures> kNone;
  return history.empty() ? kNone : history.back().sets;
}

double Run::tokens_seen() const {
  if (metrics && !metrics->steps.empty()) return metrics->steps.back().tokens;
  return history.empty() ? 0.0 : history.back().tokens;
}

Run read_run(const fs::path& directory, const Thresholds& thresholds) {
  if (!fs::is_directory(directory)) {
    throw Error(ExitCode::bad_data, fmt::format("{} is not a directory", directory.string()),
                "Name run directories, for example `headroom analyze runs/baseline runs/tvr`.");
  }
  Run run;
  run.directory = directory;
  run.name = fs::weakly_canonical(directory).filename().string();

  const fs::path config = directory / "config.toml";
  const fs::path metrics = directory / "metrics.jsonl";
  read_snapshots(directory / "snapshots", thresholds, run);
  if (!fs::exists(metrics) && run.history.empty()) {
    throw Error(ExitCode::bad_data,
                fmt::format("{} holds neither metrics.jsonl nor snapshots/*.h5", directory.string()),
                "Is it a run directory, and did the run get as far as its first step?");
  }
  if (fs::exists(config)) {
    read_config(parse_toml(read_file(config), config.string()), run);
    run.files.push_back(config);
  } else if (!run.history.empty() && !run.snapshot()->provenance.config.empty()) {
    const fs::path& source = run.history.back().file;
    read_config(parse_toml(run.snapshot()->provenance.config, source.string() + " (provenance/config)"), run);
    run.remarks.emplace_back("config.toml is missing; the configuration is the one kept in the last snapshot");
  } else {
    run.remarks.emplace_back("config.toml is missing: the model's settings are unknown");
  }
  if (fs::exists(metrics) && fs::file_size(metrics) > 0) {
    run.metrics = read_metrics(metrics);
    run.files.push_back(metrics);
    if (!run.metrics->remark.empty()) run.remarks.push_back(run.metrics->remark);
    if (run.metrics->steps.empty()) {
      run.remarks.emplace_back("metrics.jsonl holds no step yet: no loss curve, no evolution by step, no speed");
    }
  } else {
    run.remarks.emplace_back("metrics.jsonl is missing or empty: no loss curve, no evolution by step, no speed");
  }
  if (run.history.empty()) {
    run.remarks.emplace_back("there is no snapshot: only what metrics.jsonl holds can be shown");
  } else {
    take_snapshot_facts(*run.snapshot(), run);
    take_probe_notes(*run.snapshot(), run);
  }
  if (run.metrics) take_metrics_facts(run.metrics->run, run);
  if (run.variant.empty()) run.variant = run.name;
  return run;
}

}  // namespace headroom::report
