#include "trainer/trainer.h"

#include <omp.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "analysis/monitor.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/system.h"
#include "base/version.h"
#include "data/corpus.h"
#include "optim/schedule.h"
#include "tensor/backend.h"
#include "trainer/checkpoint.h"
#include "trainer/communication_formula.h"
#include "trainer/config_schema.h"
#include "trainer/evaluation.h"
#include "trainer/hardware.h"
#include "trainer/logging.h"
#include "trainer/metrics.h"
#include "trainer/run_directory.h"
#include "trainer/run_snapshot.h"
#include "trainer/start_up.h"
#include "trainer/step_data.h"
#include "trainer/step_record.h"
#include "trainer/tensorboard.h"

namespace headroom {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

constexpr std::int64_t kAllReduceProbe = 4 << 20;  // bytes of the start-up's timed all-reduce

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double seconds_waiting(const Mesh& mesh) {
  return mesh.data().seconds_waiting() + mesh.tensor().seconds_waiting() + mesh.world().seconds_waiting();
}

// Happens every `every` steps and always at the last one.
bool due(std::int64_t step, std::int64_t every, std::int64_t last) {
  return step == last || (every > 0 && step % every == 0);
}

// What one rank writes; only rank 0 has the files that belong to the whole run.
struct Outputs {
  Outputs(RunDirectory own, int rank, const std::string& level)
      : directory(std::move(own)), logging(rank, level, directory.logs()) {}

  RunDirectory directory;
  Logging logging;
  std::optional<MetricsWriter> metrics;
  std::optional<EventWriter> events;
};

class Run {
 public:
  Run(const RunConfig& config, const Mesh& mesh, Device device, const Corpus& corpus, RunDirectory directory);

  // Says what a user should see before the first step.
  void announce(int threads, const std::vector<std::string>& device_notes);
  // Loads the newest checkpoint when resuming and opens the run's files.
  void open(bool resume);
  void train();
  const std::filesystem::path& path() const { return outputs_.directory.path(); }

 private:
  bool root() const { return mesh_->world().rank() == 0; }
  void resume_from_checkpoint();
  void write_provenance();
  ordered_json one_step(std::int64_t step);
  void look(std::int64_t step, ordered_json& record);
  void keep(std::int64_t step);
  void finish();

  RunConfig config_;
  const Mesh* mesh_;
  Device device_;
  const Corpus* corpus_;
  Outputs outputs_;
  Engine engine_;
  StepData data_;
  HeldOut held_out_;
  Monitor monitor_;
  RunSnapshots snapshots_;
  CheckpointIdentity identity_;
  double peak_flops_;  // of all ranks' devices together; 0 if unknown
  TrainingPosition position_;
  ordered_json last_checkpoint_;  // its receipt, until a record or the end has told it
};

CheckpointIdentity identity_of(const RunConfig& config, const Corpus& corpus) {
  const std::string parts = fmt::format("{:016x} {:016x} {}", corpus.train.fingerprint(), corpus.valid.fingerprint(),
                                        corpus.train.tokenizer_fingerprint());
  return {fingerprint(config), hex_hash(parts), build_commit()};
}

// All ranks are taken to have what this one has.
double peak_flops(const RunConfig& config, const Mesh& mesh, Device device) {
  const GpuFigures* const gpu = find_gpu(backend(device).devices().front());
  return gpu == nullptr ? 0.0 : gpu->flops(config.train.dtype) * mesh.world().size();
}

Run::Run(const RunConfig& config, const Mesh& mesh, Device device, const Corpus& corpus, RunDirectory directory)
    : config_(config),
      mesh_(&mesh),
      device_(device),
      corpus_(&corpus),
      outputs_(std::move(directory), mesh.world().rank(), config.log.level),
      engine_(config, mesh, device),
      data_(corpus.train, config, mesh),
      held_out_(corpus.valid, config.model.seq_len, static_cast<std::uint64_t>(config.eval.windows)),
      monitor_(config.model.n_layers, config.model.hidden_size, device),
      snapshots_(config, corpus),
      identity_(identity_of(config, corpus)),
      peak_flops_(peak_flops(config, mesh, device)) {}

void Run::announce(int threads, const std::vector<std::string>& device_notes) {
  const std::string gpu = device_ == Device::cuda ? device_notes.front() : "";
  const std::string table = describe_ranks(mesh_->world(), mesh_->layout().tensor, threads, gpu);
  // Over the ranks that exchange gradients, or else those that share a model.
  Communicator& group = mesh_->data().size() > 1 ? mesh_->data() : mesh_->tensor();
  const AllReduceTiming timing = time_all_reduce(group, kAllReduceProbe, device_);
  if (!root()) return;
  log_info("{}", version_line());
  log_info("{}", table);
  if (mesh_->world().size() > 1) {
    log_info("all-reduce of {} MiB over {} ranks: {:.2f} ms, {:.2f} GB/s", kAllReduceProbe >> 20, group.size(),
             timing.seconds * 1e3, timing.bytes_per_second * 1e-9);
  }
  for (const std::string& note : device_notes) log_info("{}", note);
  for (const std::string& note : snapshots_.notes()) log_warning("probe: {}", note);
  log_info("corpus {} ({}): {} training tokens, {} held out", config_.data.corpus.string(), corpus_->train.form(),
           corpus_->train.size(), corpus_->valid.size());
  const std::int64_t warmup = warmup_steps(config_.optim, config_.train.global_batch * config_.model.seq_len);
  if (warmup >= config_.train.steps) {
    log_warning("the warm-up of {} steps is as long as the run of {}: the learning rate never falls", warmup,
                config_.train.steps);
  }
  log_info("run {} ({}): {:.2f} M parameters, {} steps of {} x {} tokens", config_.name,
           config_.variant.empty() ? "no variant named" : config_.variant,
           static_cast<double>(engine_.model().parameters().logical_elements()) * 1e-6, config_.train.steps,
           config_.train.global_batch, config_.model.seq_len);
}

// A fingerprint only says that two configs differ; the run's own config says where.
void refuse_other_config(const std::filesystem::path& config_file, const RunConfig& config) {
  if (!std::filesystem::exists(config_file)) return;  // the checkpoint's fingerprint decides
  const std::vector<std::string> differences = computing_differences(load_config(config_file, {}), config);
  if (differences.empty()) return;
  throw Error(ExitCode::bad_checkpoint,
              fmt::format("this config differs from the one that the run began with, {}:\n  {}", config_file.string(),
                          fmt::join(differences, "\n  ")),
              "Resume with the run's own config, or give this run another name (--set name=...).");
}

void Run::resume_from_checkpoint() {
  refuse_other_config(outputs_.directory.config_file(), config_);
  const auto checkpoint = latest_checkpoint(outputs_.directory.checkpoints());
  if (!checkpoint) {
    log_info("no checkpoint in {} yet: starting from the beginning", outputs_.directory.checkpoints().string());
    return;
  }
  position_ = load_checkpoint(*checkpoint, identity_, engine_, *mesh_);
  log_info("resumed from {} at step {}", checkpoint->string(), position_.step);
}

void Run::open(bool resume) {
  if (resume) resume_from_checkpoint();
  if (!root()) return;
  write_file_atomically(outputs_.directory.config_file(), to_toml(config_));
  outputs_.metrics.emplace(outputs_.directory.metrics_file(), position_.step);
  if (config_.log.tensorboard) outputs_.events.emplace(outputs_.directory.tensorboard(), position_.step);
  if (position_.step == config_.train.steps) return;  // finished already
  std::filesystem::remove(outputs_.directory.finished_mark());
  write_provenance();
}

// What the records that follow come from; once more where a run goes on, perhaps elsewhere.
void Run::write_provenance() {
  const CommunicationFormula formula = communication_formula(config_, mesh_->layout());
  outputs_.metrics->write(
      {{"run", config_.name},
       {"resumed_after", position_.step},
       {"variant", config_.variant},
       {"parameters", engine_.model().parameters().logical_elements()},
       {"layout", fmt::format("{}x{}", mesh_->layout().data, mesh_->layout().tensor)},
       {"threads", omp_get_max_threads()},
       {"host", host_name()},
       {"commit", identity_.commit},
       {"config", identity_.config_fingerprint},
       {"corpus", identity_.corpus_fingerprint},
       {"comm_formula", {{"data_bytes", formula.data_bytes}, {"tensor_bytes", formula.tensor_bytes}}}});
}

ordered_json Run::one_step(std::int64_t step) {
  const auto begin = Clock::now();
  const std::int64_t step_tokens = config_.train.global_batch * config_.model.seq_len;
  const std::vector<Batch> batches = data_.read(step);
  const Traffic data_before = mesh_->data().traffic();
  const Traffic tensor_before = mesh_->tensor().traffic();
  const double waited_before = seconds_waiting(*mesh_);

  StepRecord record;
  record.step = step;
  record.lr = learning_rate(config_.optim, step, config_.train.steps, step_tokens);
  monitor_.begin_step();
  ActivationTap* const tap = config_.monitor.enabled ? &monitor_ : nullptr;
  record.outcome = engine_.step(step, record.lr, batches, tap, [&](std::size_t micro_batch) {
    monitor_.begin_micro_batch(
        static_cast<std::int64_t>(data_.first_sample(step, micro_batch)) - (step - 1) * config_.train.global_batch,
        config_.model.seq_len);
  });
  record.data_bytes = mesh_->data().traffic().bytes - data_before.bytes;
  record.tensor_bytes = mesh_->tensor().traffic().bytes - tensor_before.bytes;
  record.waited = seconds_waiting(*mesh_) - waited_before;

  position_ = {step, position_.tokens + step_tokens};
  record.epoch = data_.epoch(step);
  record.tokens = position_.tokens;
  record.step_tokens = step_tokens;
  record.batch_crc = data_.crc(batches);
  record.memory_bytes = static_cast<std::int64_t>(backend(device_).peak_bytes());
  mesh_->world().all_reduce(std::span<std::int64_t>(&record.memory_bytes, 1), Reduction::max);
  record.dyt_alphas = engine_.model().dyt_alphas();
  std::optional<MonitorRecord> monitor;
  if (config_.monitor.enabled) monitor = monitor_.collect(*mesh_);
  record.seconds = seconds_since(begin);
  if (peak_flops_ > 0.0) {
    const double flops = engine_.model().flops_per_token(config_.model.seq_len) * static_cast<double>(step_tokens);
    record.mfu = flops / record.seconds / peak_flops_;
  }

  ordered_json json = to_json(record);
  if (monitor) {
    json["layer_max"] = monitor->max;
    json["layer_median"] = monitor->median;
    json["layer_ratio"] = monitor->ratio;
    json["layer_argmax"] = monitor->argmax;
  }
  return json;
}

// Evaluation and snapshot, where they are due; what they cost and found goes into the step's record.
void Run::look(std::int64_t step, ordered_json& record) {
  const std::int64_t last = config_.train.steps;
  if (due(step, config_.eval.every, last)) {
    const auto begin = Clock::now();
    const LossSum loss = evaluate_held_out(engine_.model(), held_out_, config_.train.micro_batch, *mesh_);
    record["eval"] = {{"loss", loss.mean()},
                      {"perplexity", std::exp(loss.mean())},
                      {"tokens", loss.tokens},
                      {"seconds", seconds_since(begin)}};
    if (root()) log_info("step {}: held-out loss {:.4f}, perplexity {:.2f}", step, loss.mean(), std::exp(loss.mean()));
  }
  if (due(step, config_.snapshot.every, last)) {
    const SnapshotReceipt receipt =
        snapshots_.take(outputs_.directory.snapshots(), position_, identity_, engine_.model(), *mesh_);
    record["snapshot"] = {
        {"file", receipt.path.filename().string()}, {"seconds", receipt.seconds}, {"bytes", receipt.bytes}};
  }
}

// The checkpoint, where it is due. The step's record is on the disk before it: a run that goes on from the checkpoint
// must find it there.
void Run::keep(std::int64_t step) {
  if (!due(step, config_.checkpoint.every, config_.train.steps)) return;
  if (outputs_.metrics) outputs_.metrics->sync();
  const CheckpointReceipt receipt =
      save_checkpoint(outputs_.directory.checkpoints(), position_, identity_, engine_, *mesh_, config_.checkpoint.keep);
  last_checkpoint_ = {
      {"path", receipt.path.filename().string()}, {"seconds", receipt.seconds}, {"bytes", receipt.bytes}};
}

void Run::train() {
  std::optional<Progress> progress;
  if (root()) {
    const auto left = static_cast<std::uint64_t>(config_.train.steps - position_.step);
    progress.emplace(config_.name, left);
  }
  for (std::int64_t step = position_.step + 1; step <= config_.train.steps; ++step) {
    ordered_json record = one_step(step);
    look(step, record);
    if (!last_checkpoint_.is_null()) record["checkpoint"] = std::exchange(last_checkpoint_, nullptr);
    if (root()) {
      outputs_.metrics->write(record);
      if (outputs_.events) outputs_.events->write(step, scalars_of(record));
      progress->advance(1, fmt::format("step {}  loss {:.4f}  {:.0f} tokens/s", step, record["loss"].get<double>(),
                                       record["tokens_per_second"].get<double>()));
    }
    keep(step);
  }
  if (progress) progress->finish();
  finish();
}

// The mark by which scripts tell a finished run from one to resume.
void Run::finish() {
  if (!root()) return;
  ordered_json finished = {{"step", position_.step}, {"tokens", position_.tokens}, {"time", local_time()}};
  if (!last_checkpoint_.is_null()) finished["checkpoint"] = last_checkpoint_;
  write_file_atomically(outputs_.directory.finished_mark(), finished.dump() + "\n");
  log_info("{} finished: {} steps, {} tokens, in {}", config_.name, position_.step, position_.tokens, path().string());
}

// Starting over would cut the metrics back to nothing, so it takes an explicit word.
void refuse_past_run(const RunDirectory& directory) {
  const std::optional<std::filesystem::path> checkpoint = latest_checkpoint(directory.checkpoints());
  std::error_code missing;
  const bool metrics = std::filesystem::file_size(directory.metrics_file(), missing) > 0 && !missing;
  if (!checkpoint && !metrics) return;
  throw Error(ExitCode::busy,
              fmt::format("'{}' already holds a run ({})", directory.path().string(),
                          checkpoint ? checkpoint->filename().string() + " is its newest checkpoint" : "its metrics"),
              "Go on with it (--resume), give this one another name (--set name=...), or remove the directory.");
}

// Rank 0 takes the lock; what it throws, every rank throws.
RunDirectory take_directory(const std::filesystem::path& path, bool resume, Communicator& world) {
  if (world.rank() == 0) {
    try {
      RunDirectory directory = RunDirectory::own(path);
      if (!resume) refuse_past_run(directory);
      world.broadcast_bytes({}, 0);
      return directory;
    } catch (const Error& error) {
      const std::string message = fmt::format("{}\n{}\n{}", static_cast<int>(error.code()), error.hint(), error.what());
      world.broadcast_bytes(std::as_bytes(std::span<const char>(message.data(), message.size())), 0);
      throw;
    }
  }
  const std::vector<std::byte> refusal = world.broadcast_bytes({}, 0);
  if (refusal.empty()) return RunDirectory::join(path);
  const std::string text(reinterpret_cast<const char*>(refusal.data()), refusal.size());
  const std::size_t first = text.find('\n');
  const std::size_t second = text.find('\n', first + 1);
  throw Error(static_cast<ExitCode>(std::stoi(text.substr(0, first))), text.substr(second + 1),
              text.substr(first + 1, second - first - 1));
}

// cuBLASLt's algorithms are chosen by timing, and each adds up in an order of its own: the run's choices are kept with
// it, so that all ranks and a resumed run take the same.
void keep_product_choices(Device device, const RunDirectory& directory) {
  constexpr int kUnlessSet = 0;
  if (device == Device::cuda) setenv("HEADROOM_CUBLASLT_CACHE", directory.product_choices().c_str(), kUnlessSet);
}

}  // namespace

std::filesystem::path train(const RunConfig& loaded, const TrainOptions& options, ParallelRuntime& runtime) {
  const Device device = device_for(loaded);
  auto world = runtime.world();
  refuse_lonely_ranks(*world);
  const StartedMesh started = start_mesh(loaded, std::move(world), device);
  const Mesh& mesh = started.mesh;
  const int threads = set_threads(loaded, mesh.world());

  if (loaded.data.corpus.empty()) {
    throw Error(ExitCode::bad_config, "data.corpus is not set: there is nothing to train on",
                "Make a corpus with `headroom tokenize` and name its directory (--set data.corpus=...).");
  }
  const Corpus corpus = Corpus::open(loaded.data.corpus, loaded.data.valid);
  const RunConfig config = resolved_for(loaded, mesh.layout(), corpus.vocab_size);
  RunDirectory directory = take_directory(config.runs_dir / config.name, options.resume, mesh.world());
  keep_product_choices(device, directory);
  Run run(config, mesh, device, corpus, std::move(directory));
  run.announce(threads, started.notes);
  run.open(options.resume);
  run.train();
  return run.path();
}

}  // namespace headroom
