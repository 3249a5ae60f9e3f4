#include "trainer/trainer.h"

#include <cstdlib>
#include <fstream>
#include <numeric>
#include <optional>
#include <utility>

#include "base/file.h"
#include "parallel/agreement.h"
#include "trainer/config_schema.h"
#include "trainer/run.h"
#include "trainer/start_up.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// Starting over would cut the metrics back to nothing, so it takes an explicit word.
void refuse_past_run(const RunDirectory& directory) {
  const std::optional<fs::path> checkpoint = CheckpointDirectory(directory.checkpoints()).latest();
  std::error_code missing;
  const bool metrics = fs::file_size(directory.metrics_file(), missing) > 0 && !missing;
  if (!checkpoint && !metrics) return;
  throw Error(ExitCode::busy,
              fmt::format("'{}' already holds a run ({})", directory.path().string(),
                          checkpoint ? checkpoint->filename().string() + " is its newest checkpoint" : "its metrics"),
              "Go on with it (--resume), give this one another name (--set name=...), or remove the directory.");
}

// A run's metrics and checkpoints belong to one config; its own says where another differs.
void refuse_other_config(const RunDirectory& directory, const RunConfig& config) {
  const fs::path config_file = directory.config_file();
  // Where nothing was trained, as in a model from elsewhere, the checkpoint decides.
  if (!fs::exists(config_file) || !fs::exists(directory.metrics_file())) return;
  const std::vector<std::string> differences = computing_differences(load_config(config_file, {}), config);
  if (differences.empty()) return;
  throw Error(
      ExitCode::bad_checkpoint,
      fmt::format("this config differs from the run's own, {}:\n  {}", config_file.string(),
                  fmt::join(differences, "\n  ")),
      "Go on with the run's own config, give this run another name (--set name=...), or load its checkpoint all "
      "the same with --accept-mismatch.");
}

// Rank 0 takes the lock and looks whether the run may begin there.
RunDirectory take_directory(const RunConfig& config, const TrainOptions& options, Communicator& world) {
  const fs::path path = config.runs_dir / config.name;
  std::optional<RunDirectory> owned;
  on_root(world, [&] {
    owned.emplace(RunDirectory::own(path));
    if (!options.resume) refuse_past_run(*owned);
    if (options.resume && !options.accept_mismatch) refuse_other_config(*owned, config);
    return std::string();
  });
  return owned ? std::move(*owned) : RunDirectory::join(path);
}

// cuBLASLt's algorithms are chosen by timing, and each adds up in an order of its own: the run's choices are kept with
// it, so that all ranks and a resumed run take the same.
void keep_product_choices(Device device, const fs::path& choices) {
  constexpr int kUnlessSet = 0;
  if (device == Device::cuda) setenv("HEADROOM_CUBLASLT_CACHE", choices.c_str(), kUnlessSet);
}

Corpus open_corpus(const RunConfig& config) {
  if (config.data.corpus.empty()) {
    throw Error(ExitCode::bad_config, "data.corpus is not set: there is nothing to train on",
                "Make a corpus with `headroom tokenize` and name its directory (--set data.corpus=...).");
  }
  return Corpus::open(config.data.corpus, config.data.valid);
}

// What the run recorded of a step; null when its metrics have no such line.
nlohmann::json recorded(const fs::path& metrics, std::int64_t step) {
  std::ifstream stream(metrics);
  nlohmann::json found;
  for (std::string line; std::getline(stream, line);) {
    nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    if (record.is_object() && record.value("step", std::int64_t{0}) == step) found = std::move(record);
  }
  return found;
}

// The samples that rollbacks before a step left out.
std::vector<SampleRange> left_out_before(const fs::path& metrics, std::int64_t step) {
  std::ifstream stream(metrics);
  std::vector<SampleRange> ranges;
  for (std::string line; std::getline(stream, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object() || record.value("event", "") != "rollback" || record.at("before_step") > step) continue;
    for (const auto& range : record.at("samples_left_out")) ranges.push_back({range.at(0), range.at(1)});
  }
  return ranges;
}

// The config that a step was made with: that of the nearest checkpoint before it, or the run's.
fs::path config_before(const fs::path& run_directory, std::int64_t step) {
  const std::vector<fs::path> nearest = CheckpointDirectory(run_directory / "checkpoints").up_to(step - 1);
  const fs::path own = nearest.empty() ? fs::path() : nearest.front() / "config.toml";
  return fs::exists(own) ? own : run_directory / "config.toml";
}

std::string comparison(const nlohmann::json& before, const nlohmann::ordered_json& now) {
  if (before.is_null()) return "the run's metrics have no record of this step";
  std::string text;
  for (const char* key : {"batch_crc", "loss", "grad_norm"}) {
    const std::string was = before.value(key, nlohmann::json()).dump();
    const std::string is = now.at(key).dump();
    text += fmt::format("{}{}: {} {}", text.empty() ? "" : "\n", key, is,
                        was == is ? "as recorded" : fmt::format("(recorded: {})", was));
  }
  return text;
}

// The samples of a step as probe sequences: the first `raw` with all their hidden states, the others as statistics.
ProbeSet sequences_of(const StepData& data, std::uint64_t first, std::int64_t raw) {
  ProbeSet probe;
  for (const Batch& batch : data.whole_step(first)) {
    for (std::int64_t row = 0; row < batch.batch; ++row) {
      const auto begin = batch.ids.begin() + row * batch.seq;
      ProbeSequence sequence;
      sequence.ids.assign(begin, begin + batch.seq);
      sequence.kind = std::ssize(probe.sequences) < raw ? ProbeKind::sentence : ProbeKind::calibration;
      for (const std::int32_t id : sequence.ids) sequence.pieces.push_back(std::to_string(id));
      probe.sequences.push_back(std::move(sequence));
    }
  }
  return probe;
}

}  // namespace

RunEnd train(const RunConfig& loaded, const TrainOptions& options, ParallelRuntime& runtime) {
  const StopRequests stop_requests(loaded.faults.signal);
  const StartedRanks started = start_ranks(loaded, runtime);
  const Mesh& mesh = started.mesh;

  const Corpus corpus = open_corpus(loaded);
  RunConfig config = resolved_for(loaded, mesh.layout(), corpus.vocab_size);
  // A run that is kept elsewhere cannot find them from its directory, as those below this one can.
  if (config.runs_dir.is_absolute()) make_paths_absolute(config);
  RunDirectory directory = take_directory(config, options, mesh.world());
  keep_product_choices(started.device, directory.product_choices());
  if (stop_agreed(mesh.world())) return RunEnd::stopped;
  Run run(config, mesh, started.device, corpus, std::move(directory));
  run.announce(started.threads, started.notes);
  if (options.resume) run.resume(options.accept_mismatch ? Mismatch::accept : Mismatch::refuse);
  if (stop_agreed(mesh.world())) return RunEnd::stopped;
  return run.train() ? RunEnd::finished : RunEnd::stopped;
}

std::string rerun(const fs::path& run_directory, const RerunOptions& options, ParallelRuntime& runtime) {
  // At any number of ranks, unless the overrides say otherwise.
  std::vector<std::string> settings = {"parallel.data=0"};
  settings.insert(settings.end(), options.overrides.begin(), options.overrides.end());
  RunConfig loaded = load_config(config_before(run_directory, options.step), settings);
  const StartedRanks started = start_ranks(loaded, runtime);
  const Mesh& mesh = started.mesh;
  const Corpus corpus = open_corpus(loaded);
  // The run's own micro-batches where they divide a rank's share, for the same bits at the same layout.
  loaded.train.micro_batch = std::gcd(loaded.train.micro_batch, loaded.train.global_batch / mesh.layout().data);
  const RunConfig config = resolved_for(loaded, mesh.layout(), corpus.vocab_size);
  if (options.step < 1 || options.step > config.train.steps) {
    throw Error(ExitCode::bad_config,
                fmt::format("the run has steps 1 to {}, not {}", config.train.steps, options.step));
  }
  const fs::path target = run_directory / "reruns" / fmt::format("step-{:08}", options.step);
  std::optional<RunDirectory> owned;
  on_root(mesh.world(), [&] {
    make_directories(run_directory / "reruns");
    owned.emplace(RunDirectory::own(target));
    return std::string();
  });
  keep_product_choices(started.device, run_directory / "product-choices.txt");
  Run run(config, mesh, started.device, corpus, owned ? std::move(*owned) : RunDirectory::join(target));
  const nlohmann::ordered_json record =
      run.rerun(options.step, CheckpointDirectory(run_directory / "checkpoints"),
                left_out_before(run_directory / "metrics.jsonl", options.step), [&](std::uint64_t first_sample) {
                  const StepData data(corpus.train, config, mesh);
                  return RunSnapshots(config, corpus, sequences_of(data, first_sample, options.raw_samples));
                });
  return on_root(mesh.world(), [&] {
    write_file_atomically(target / "record.json", record.dump(1) + "\n");
    return fmt::format("step {} again:\n{}\nsnapshots before and after it: {}", options.step,
                       comparison(recorded(run_directory / "metrics.jsonl", options.step), record),
                       (target / "snapshots").string());
  });
}

}  // namespace headroom
