#include "trainer/trainer.h"

#include <omp.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "analysis/monitor.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/system.h"
#include "base/version.h"
#include "data/corpus.h"
#include "optim/schedule.h"
#include "trainer/checkpoint.h"
#include "trainer/communication_formula.h"
#include "trainer/config_schema.h"
#include "trainer/evaluation.h"
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
  Run(const RunConfig& config, const Mesh& mesh, const Corpus& corpus, RunDirectory directory);

  // Says what a user should see before the first step.
  void announce(int threads);
  // Loads the newest checkpoint when resuming and opens the run's files.
  void open(bool resume);
  void train();
  const std::filesystem::path& path() const { return outputs_.directory.path(); }

 private:
  bool root() const { return mesh_->world().rank() == 0; }
  void resume_from_checkpoint();
  void write_provenance();
  ordered_json one_step(std::int64_t step);
  void after_step(std::int64_t step, ordered_json& record);
  void finish();

  RunConfig config_;
  const Mesh* mesh_;
  const Corpus* corpus_;
  Outputs outputs_;
  Engine engine_;
  StepData data_;
  HeldOut held_out_;
  Monitor monitor_;
  RunSnapshots snapshots_;
  CheckpointIdentity identity_;
  TrainingPosition position_;
};

CheckpointIdentity identity_of(const RunConfig& config, const Corpus& corpus) {
  return {fingerprint(config), fmt::format("{:016x}", corpus.train.fingerprint()), build_commit()};
}

Run::Run(const RunConfig& config, const Mesh& mesh, const Corpus& corpus, RunDirectory directory)
    : config_(config),
      mesh_(&mesh),
      corpus_(&corpus),
      outputs_(std::move(directory), mesh.world().rank(), config.log.level),
      engine_(config, mesh),
      data_(corpus.train, config, mesh),
      held_out_(corpus.valid, config.model.seq_len, static_cast<std::uint64_t>(config.eval.windows)),
      monitor_(config.model.n_layers),
      snapshots_(config, corpus),
      identity_(identity_of(config, corpus)) {}

void Run::announce(int threads) {
  const std::string table = describe_ranks(mesh_->world(), mesh_->layout().tensor, threads);
  const AllReduceTiming timing = time_all_reduce(mesh_->world(), kAllReduceProbe);
  if (!root()) return;
  log_info("{}", version_line());
  log_info("{}", table);
  if (mesh_->world().size() > 1) {
    log_info("all-reduce of {} MiB: {:.2f} ms, {:.2f} GB/s", kAllReduceProbe >> 20, timing.seconds * 1e3,
             timing.bytes_per_second * 1e-9);
  }
  for (const std::string& note : snapshots_.notes()) log_warning("probe: {}", note);
  log_info("run {} ({}): {:.2f} M parameters, {} steps of {} x {} tokens", config_.name,
           config_.variant.empty() ? "no variant named" : config_.variant,
           static_cast<double>(engine_.model().parameters().logical_elements()) * 1e-6, config_.train.steps,
           config_.train.global_batch, config_.model.seq_len);
}

void Run::resume_from_checkpoint() {
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
  if (position_.step == 0) write_provenance();
}

void Run::write_provenance() {
  const CommunicationFormula formula = communication_formula(config_, mesh_->layout());
  outputs_.metrics->write(
      {{"run", config_.name},
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
  const std::int64_t step_tokens = config_.train.global_batch * config_.model.seq_len;
  const std::vector<Batch> batches = data_.read(step);
  const Traffic data_before = mesh_->data().traffic();
  const Traffic tensor_before = mesh_->tensor().traffic();

  StepRecord record;
  record.step = step;
  record.lr = learning_rate(config_.optim, step, config_.train.steps, step_tokens);
  const auto begin = Clock::now();
  monitor_.begin_step();
  ActivationTap* const tap = config_.monitor.enabled ? &monitor_ : nullptr;
  record.outcome = engine_.step(step, record.lr, batches, tap, [&](std::size_t micro_batch) {
    monitor_.begin_micro_batch(
        static_cast<std::int64_t>(data_.first_sample(step, micro_batch)) - (step - 1) * config_.train.global_batch,
        config_.model.seq_len);
  });
  record.seconds = seconds_since(begin);
  record.data_bytes = mesh_->data().traffic().bytes - data_before.bytes;
  record.tensor_bytes = mesh_->tensor().traffic().bytes - tensor_before.bytes;

  position_ = {step, position_.tokens + step_tokens};
  record.epoch = data_.epoch(step);
  record.tokens = position_.tokens;
  record.step_tokens = step_tokens;
  record.batch_crc = data_.crc(batches);
  record.memory_bytes = peak_memory_bytes();
  mesh_->world().all_reduce(std::span<std::int64_t>(&record.memory_bytes, 1), Reduction::max);
  record.kv_bias_mass = engine_.model().kv_bias_mass();
  mesh_->world().all_reduce(std::span<double>(record.kv_bias_mass), Reduction::sum);
  for (double& mass : record.kv_bias_mass) mass /= mesh_->world().size();
  record.dyt_alphas = engine_.model().dyt_alphas();

  ordered_json json = to_json(record);
  if (config_.monitor.enabled) {
    const MonitorRecord monitor = monitor_.collect(*mesh_);
    json["layer_max"] = monitor.max;
    json["layer_median"] = monitor.median;
    json["layer_ratio"] = monitor.ratio;
    json["layer_argmax"] = monitor.argmax;
  }
  return json;
}

void Run::after_step(std::int64_t step, ordered_json& record) {
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
  if (due(step, config_.checkpoint.every, last)) {
    const CheckpointReceipt receipt = save_checkpoint(outputs_.directory.checkpoints(), position_, identity_, engine_,
                                                      *mesh_, config_.checkpoint.keep);
    record["checkpoint"] = {
        {"path", receipt.path.filename().string()}, {"seconds", receipt.seconds}, {"bytes", receipt.bytes}};
  }
}

void Run::train() {
  std::optional<Progress> progress;
  if (root()) {
    const auto left = static_cast<std::uint64_t>(config_.train.steps - position_.step);
    progress.emplace(config_.name, left);
  }
  for (std::int64_t step = position_.step + 1; step <= config_.train.steps; ++step) {
    ordered_json record = one_step(step);
    after_step(step, record);
    if (!root()) continue;
    outputs_.metrics->write(record);
    if (outputs_.events) outputs_.events->write(step, scalars_of(record));
    progress->advance(1, fmt::format("step {}  loss {:.4f}  {:.0f} tokens/s", step, record["loss"].get<double>(),
                                     record["tokens_per_second"].get<double>()));
  }
  if (progress) progress->finish();
  finish();
}

// The mark by which scripts tell a finished run from one to resume.
void Run::finish() {
  if (!root()) return;
  const ordered_json finished = {{"step", position_.step}, {"tokens", position_.tokens}, {"time", local_time()}};
  write_file_atomically(path() / "finished", finished.dump() + "\n");
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

}  // namespace

std::filesystem::path train(const RunConfig& loaded, const TrainOptions& options, ParallelRuntime& runtime) {
  check_device(loaded);
  auto world = runtime.world();
  refuse_lonely_ranks(*world);
  const Layout layout = layout_for(loaded, world->size());
  const Mesh mesh(std::move(world), layout);
  const int threads = set_threads(loaded, mesh.world());

  const Corpus corpus = Corpus::open(loaded.data.corpus, loaded.data.valid);
  const RunConfig config = resolved_for(loaded, layout, corpus.vocab_size);
  RunDirectory directory = take_directory(config.runs_dir / config.name, options.resume, mesh.world());
  Run run(config, mesh, corpus, std::move(directory));
  run.announce(threads);
  run.open(options.resume);
  run.train();
  return run.path();
}

}  // namespace headroom
