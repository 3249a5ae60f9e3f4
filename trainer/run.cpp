#include "trainer/run.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/activity.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/system.h"
#include "base/version.h"
#include "optim/schedule.h"
#include "parallel/agreement.h"
#include "parallel/runtime.h"
#include "parallel/versions.h"
#include "tensor/backend.h"
#include "trainer/communication_formula.h"
#include "trainer/config_schema.h"
#include "trainer/evaluation.h"
#include "trainer/hardware.h"
#include "trainer/step_record.h"

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

// All ranks are taken to have what this one has.
double peak_flops(const RunConfig& config, const Mesh& mesh, Device device) {
  const GpuFigures* const gpu = find_gpu(backend(device).devices().front());
  return gpu == nullptr ? 0.0 : gpu->flops(config.train.dtype) * mesh.world().size();
}

// A fingerprint only says that two configs differ; the checkpoint's own config says where.
std::vector<std::string> config_differences(const std::filesystem::path& checkpoint, const RunConfig& config) {
  const std::filesystem::path file = checkpoint / "config.toml";
  try {
    return computing_differences(load_config(file, {}), config);
  } catch (const Error& error) {
    return {fmt::format("its config cannot be compared: {}", error.what())};
  }
}

}  // namespace

CheckpointIdentity identity_of(const RunConfig& config, const Corpus& corpus) {
  return {.config = fingerprint(config),
          .train = hex_digits(corpus.train.fingerprint()),
          .valid = hex_digits(corpus.valid.fingerprint()),
          .tokenizer = corpus.train.tokenizer_fingerprint(),
          .commit = build_commit()};
}

Run::Run(const RunConfig& config, const Mesh& mesh, Device device, const Corpus& corpus, RunDirectory directory)
    : config_(config),
      mesh_(&mesh),
      device_(device),
      corpus_(&corpus),
      directory_(std::move(directory)),
      logging_(mesh.world().rank(), config.log.level, directory_.logs()),
      engine_(config, mesh, device),
      data_(corpus.train, config, mesh),
      held_out_(corpus.valid, config.model.seq_len, static_cast<std::uint64_t>(config.eval.windows)),
      monitor_(config.model.n_layers, config.model.hidden_size, device),
      snapshots_(config, corpus),
      identity_(identity_of(config, corpus)),
      stragglers_(mesh.world(), {config.faults.straggler_ratio, config.faults.straggler_window}),
      rehearsal_(std::getenv("HEADROOM_REHEARSE"), mesh.world().rank()),
      state_(config.bad_steps),
      checkpoints_(directory_.checkpoints()),
      writer_(checkpoints_, engine_, mesh, {config.checkpoint.keep, config.checkpoint.keep_every}),
      keeper_(writer_, config.checkpoint.every, mesh.world().rank() == 0, [this] { return checkpoint_text(); }),
      peak_flops_(peak_flops(config, mesh, device)) {}

void Run::announce(int threads, const std::vector<std::string>& device_notes) {
  const std::string gpu = device_ == Device::cuda ? device_notes.front() : "";
  const std::string table = describe_ranks(mesh_->world(), mesh_->layout().tensor, threads, gpu);
  // Over the ranks that exchange gradients, or else those that share a model.
  Communicator& group = mesh_->data().size() > 1 ? mesh_->data() : mesh_->tensor();
  const AllReduceTiming timing = time_all_reduce(group, kAllReduceProbe, device_);
  if (!root()) return;
  if (directory_.took_over()) log_warning("took over the lock that was left behind by {}", *directory_.took_over());
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

// ---- going on ------------------------------------------------------------------------------------------------------

void Run::load(const std::filesystem::path& checkpoint, const Manifest& manifest, Mismatch mismatch) {
  std::vector<std::string> reasons = mismatches(manifest, identity_);
  if (manifest.identity.config != identity_.config) {
    for (std::string& difference : config_differences(checkpoint, config_)) reasons.push_back("  " + difference);
  }
  const std::string what = fmt::format("{}: {}", checkpoint.string(), fmt::join(reasons, "\n"));
  if (!reasons.empty() && mismatch == Mismatch::refuse) {
    throw Error(
        ExitCode::bad_checkpoint, what,
        "Go on with the run's own config and corpus, give this run another name (--set name=...), or load it all "
        "the same with --accept-mismatch.");
  }
  if (!reasons.empty() && root()) log_warning("{}\nloaded all the same, as --accept-mismatch says", what);
  load_tensors(checkpoint, manifest, engine_, *mesh_);
  state_.step = manifest.step;
  state_.tokens = manifest.tokens;
  state_.from_json(manifest.state);
}

void Run::resume(Mismatch mismatch) {
  on_root(mesh_->world(), [&] {
    checkpoints_.tidy();
    return std::string();
  });
  std::optional<Error> damaged;
  for (;;) {
    const std::string newest = on_root(mesh_->world(), [&] {
      const auto found = checkpoints_.latest();
      return found ? found->string() : std::string();
    });
    if (newest.empty()) break;
    std::optional<Manifest> manifest;
    try {
      manifest = verified_manifest(newest, mesh_->world());
    } catch (const Error& error) {
      if (root()) log_error("{} is damaged and set aside as NAME.damaged:\n{}", newest, error.what());
      damaged.emplace(error);
    }
    if (manifest) {
      load(newest, *manifest, mismatch);
      keeper_.set_newest(state_.step);
      if (root()) log_info("resumed from {} at step {}", newest, state_.step);
      return;
    }
    on_root(mesh_->world(), [&] {
      checkpoints_.set_aside(newest);
      return std::string();
    });
  }
  if (damaged) {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("no checkpoint in {} is whole: {}", checkpoints_.path().string(), damaged->what()),
                "Restore one from a copy, or start over in another directory (--set name=...).");
  }
  if (root()) log_info("no checkpoint in {} yet: starting from the beginning", checkpoints_.path().string());
}

void Run::open_outputs() {
  // The record of a step that is not finished comes again.
  const std::int64_t kept = state_.unfinished ? state_.step - 1 : state_.step;
  write_file_atomically(directory_.config_file(), to_toml(config_));
  if (state_.step > 0 && !std::filesystem::exists(directory_.metrics_file())) {
    log_warning("{} is missing: the run goes on without its past metrics", directory_.metrics_file().string());
  }
  metrics_.emplace(directory_.metrics_file(), kept, state_.step > 0 ? std::optional(state_.metrics) : std::nullopt);
  if (config_.log.tensorboard) events_.emplace(directory_.tensorboard(), kept);
  if (state_.step == config_.train.steps && !state_.unfinished) return;  // finished already
  std::filesystem::remove(directory_.finished_mark());
  write_provenance();
}

// What the records that follow come from; once more where a run goes on, perhaps elsewhere.
void Run::write_provenance() {
  const CommunicationFormula formula = communication_formula(config_, mesh_->layout());
  metrics_->write({{"run", config_.name},
                   {"resumed_after", state_.step},
                   {"variant", config_.variant},
                   {"parameters", engine_.model().parameters().logical_elements()},
                   {"layout", fmt::format("{}x{}", mesh_->layout().data, mesh_->layout().tensor)},
                   {"threads", omp_get_max_threads()},
                   {"host", host_name()},
                   {"commit", identity_.commit},
                   {"config", identity_.config},
                   {"corpus", identity_.train},
                   {"comm_formula", {{"data_bytes", formula.data_bytes}, {"tensor_bytes", formula.tensor_bytes}}}});
}

// ---- a step --------------------------------------------------------------------------------------------------------

ordered_json Run::one_step() {
  const std::int64_t step = state_.step + 1;
  note_step(step);
  const std::int64_t step_tokens = config_.train.global_batch * config_.model.seq_len;
  const auto begin = Clock::now();
  const std::uint64_t first_sample = state_.next_sample();
  const std::vector<Batch> batches = data_.read(first_sample);
  const Traffic data_before = mesh_->data().traffic();
  const Traffic tensor_before = mesh_->tensor().traffic();
  const double waited_before = seconds_waiting(*mesh_);

  StepRecord record;
  record.step = step;
  record.lr = learning_rate(config_.optim, step, config_.train.steps, step_tokens);
  monitor_.begin_step();
  ActivationTap* const tap = config_.monitor.enabled ? &monitor_ : nullptr;
  const auto before = [&](std::size_t micro_batch) {
    if (micro_batch == 0) rehearsal_.play(step, engine_.model().parameters().gradients());
    monitor_.begin_micro_batch(data_.first_of(micro_batch), config_.model.seq_len);
  };
  record.outcome = engine_.step(step, record.lr, batches, tap, before, state_.history.limits());
  record.data_bytes = mesh_->data().traffic().bytes - data_before.bytes;
  record.tensor_bytes = mesh_->tensor().traffic().bytes - tensor_before.bytes;
  record.waited = seconds_waiting(*mesh_) - waited_before;

  record.epoch = data_.epoch(first_sample);
  record.tokens = state_.tokens + step_tokens;
  record.step_tokens = step_tokens;
  record.batch_crc = data_.crc(batches);
  record.memory_bytes = static_cast<std::int64_t>(backend(device_).peak_bytes());
  mesh_->world().all_reduce(std::span<std::int64_t>(&record.memory_bytes, 1), Reduction::max);
  record.dyt_alphas = engine_.model().dyt_alphas();
  std::optional<MonitorRecord> monitor;
  if (config_.monitor.enabled) monitor = monitor_.collect(*mesh_);
  record.seconds = seconds_since(begin);
  const std::vector<Straggler> stragglers =
      stragglers_.note_step(record.seconds, seconds_waiting(*mesh_) - waited_before);
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
  for (const Straggler& straggler : stragglers) {
    json["stragglers"].push_back({{"rank", straggler.rank}, {"host", straggler.host}, {"ratio", straggler.ratio}});
    if (root()) log_warning("step {}: {}", step, describe(straggler));
  }
  judge(record.outcome, first_sample, json);
  state_.took(static_cast<std::uint64_t>(config_.train.global_batch), step_tokens);
  return json;
}

// Keeps account of good and bad steps; a bad one says so in its record and in the log.
void Run::judge(const StepOutcome& outcome, std::uint64_t first_sample, ordered_json& record) {
  const double loss = outcome.loss.mean();
  if (outcome.made) {
    state_.history.good(loss, outcome.grad_norm);
    return;
  }
  const auto samples = static_cast<std::uint64_t>(config_.train.global_batch);
  const std::string reason = state_.history.reason(loss, outcome.grad_norm);
  state_.history.bad(state_.step + 1, {first_sample, samples});
  record["not_made"] = {{"reason", reason}, {"first_sample", first_sample}, {"samples", samples}};
  if (!root()) return;
  log_warning("step {} is not made: {}; samples {} to {} of the training order", state_.step + 1, reason, first_sample,
              first_sample + samples - 1);
}

// Evaluation and snapshot, where they are due and not in the record yet; what they cost and found goes into it. Whether
// no stop came between.
bool Run::look(ordered_json& record) {
  const std::int64_t step = state_.step;
  const std::int64_t last = config_.train.steps;
  if (due(step, config_.eval.every, last) && !record.contains("eval")) {
    const auto begin = Clock::now();
    const std::optional<LossSum> loss =
        evaluate_held_out(engine_.model(), held_out_, config_.train.micro_batch, *mesh_);
    if (!loss) return false;
    record["eval"] = {{"loss", loss->mean()},
                      {"perplexity", std::exp(loss->mean())},
                      {"tokens", loss->tokens},
                      {"seconds", seconds_since(begin)}};
    if (root())
      log_info("step {}: held-out loss {:.4f}, perplexity {:.2f}", step, loss->mean(), std::exp(loss->mean()));
  }
  if (due(step, config_.snapshot.every, last) && !record.contains("snapshot")) {
    try {
      const std::optional<SnapshotReceipt> receipt =
          snapshots_.take(directory_.snapshots(), step, state_.tokens, identity_, engine_.model(), *mesh_);
      if (!receipt) return false;
      record["snapshot"] = {
          {"file", receipt->path.filename().string()}, {"seconds", receipt->seconds}, {"bytes", receipt->bytes}};
    } catch (const Error& error) {
      // A report can do without a snapshot; training is worth more.
      if (error.code() != ExitCode::disk_full) throw;
      record["snapshot"] = {{"failed", error.what()}};
      if (root()) log_error("the snapshot of step {} is left out: {}", step, error.what());
    }
  }
  return true;
}

void Run::keep_record(const ordered_json& record) {
  if (!root()) return;
  metrics_->write(record);
  if (events_) events_->write(state_.step, scalars_of(record));
  tell_trouble("metrics", metrics_->trouble(), metrics_in_trouble_);
  if (events_) tell_trouble("TensorBoard events", events_->trouble(), events_in_trouble_);
}

// Once when records begin to wait for a file, and once when they no longer do.
void Run::tell_trouble(const char* what, const std::optional<std::string>& trouble, bool& told) {
  if (trouble && !told) log_error("{} wait in memory and training goes on: {}", what, *trouble);
  if (!trouble && told) log_warning("{} are on the disk again, all of them", what);
  told = trouble.has_value();
}

// ---- checkpoints ---------------------------------------------------------------------------------------------------

// The records are on the disk before a checkpoint of their step: a run that goes on from it must find them there.
CheckpointText Run::checkpoint_text() {
  on_root(mesh_->world(), [&] {
    metrics_->sync();
    state_.metrics = metrics_->prefix();
    return std::string();
  });
  const std::int64_t step_tokens = config_.train.global_batch * config_.model.seq_len;
  CheckpointText text{.step = state_.step, .tokens = state_.tokens, .identity = identity_, .state = state_.to_json()};
  text.about = {
      {"run", config_.name},
      {"variant", config_.variant},
      {"time", local_time()},
      {"host", host_name()},
      {"version", version_line()},
      {"libraries", library_versions()},
      {"seed", config_.seed},
      {"epoch", data_.epoch(state_.next_sample())},
      {"next_lr",
       learning_rate(config_.optim, std::min(state_.step + 1, config_.train.steps), config_.train.steps, step_tokens)},
      {"next_tvr", config_.optim.tvr.enabled
                       ? ordered_json((state_.step / config_.optim.tvr.interval + 1) * config_.optim.tvr.interval)
                       : ordered_json()}};
  text.config_toml = to_toml(config_);
  return text;
}

// Too many bad steps in a row: back to the last checkpoint, without the samples that made them, or the end.
void Run::give_up_or_roll_back() {
  const std::vector<StepHistory::BadStep> bad = state_.history.bad_in_a_row();
  const std::string what =
      fmt::format("{} steps in a row, {} to {}, were not made", bad.size(), bad.front().step, bad.back().step);
  const std::string hint =
      "Lower optim.lr, raise optim.schedule.warmup_steps, or look at the steps with `headroom rerun`.";
  if (config_.bad_steps.then == BadStepAction::stop) throw Error(ExitCode::diverged, what, hint);
  keeper_.settle();
  const std::int64_t rollbacks = state_.rollbacks + 1;
  std::vector<SampleRange> left_out = state_.left_out;
  for (const StepHistory::BadStep& step : bad) left_out.push_back(step.samples);
  const auto checkpoint = keeper_.newest();
  if (!checkpoint || rollbacks > config_.bad_steps.rollbacks) {
    throw Error(ExitCode::diverged,
                fmt::format("{}, and {}", what,
                            checkpoint ? fmt::format("{} rollbacks to step {} did not help", rollbacks - 1, *checkpoint)
                                       : "there is no checkpoint to go back to"),
                hint);
  }
  const std::filesystem::path path = checkpoints_.complete(*checkpoint);
  load(path, verified_manifest(path, mesh_->world()), Mismatch::refuse);
  state_.left_out.insert(state_.left_out.end(), left_out.begin(), left_out.end());
  state_.rollbacks = rollbacks;
  state_.rolled_back_to = state_.step;
  if (!root()) return;
  log_warning("{}: back to step {}, leaving their samples out ({} of {} rollbacks)", what, state_.step, rollbacks,
              config_.bad_steps.rollbacks);
  metrics_.reset();
  metrics_.emplace(directory_.metrics_file(), state_.step, state_.metrics);
  if (events_) events_.emplace(directory_.tensorboard(), state_.step);
  ordered_json ranges = ordered_json::array();
  for (const StepHistory::BadStep& step : bad) ranges.push_back({step.samples.first, step.samples.count});
  // Before the first step that comes again: a run that goes on from before it comes to the event once more.
  metrics_->write({{"event", "rollback"},
                   {"before_step", state_.step + 1},
                   {"bad_steps", {bad.front().step, bad.back().step}},
                   {"samples_left_out", std::move(ranges)}});
}

// ---- the loop ------------------------------------------------------------------------------------------------------

// What follows a step: looks, record, checkpoint. Whether to go on.
bool Run::finish_step(ordered_json record) {
  const bool looked = look(record);
  if (looked) {
    state_.unfinished.reset();
    if (std::optional<ordered_json> report = keeper_.take_report()) record["checkpoint"] = std::move(*report);
    keep_record(record);
  } else {
    state_.unfinished = std::move(record);
  }
  // One word between the ranks: who was asked to stop, whose checkpoint is still being written.
  std::int64_t word[] = {stop_requested() ? 1 : 0, writer_.ready() ? 0 : 1};
  mesh_->world().all_reduce(std::span<std::int64_t>(word), Reduction::max);
  const bool stop = word[0] != 0 || !looked;
  if (!stop && state_.history.patience_is_over()) {
    give_up_or_roll_back();
  } else if (!stop && state_.step < config_.train.steps && state_.history.bad_in_a_row().empty()) {
    keeper_.after_step(state_.step, word[1] == 0);
  }
  if (keeper_.newest().value_or(0) > state_.rolled_back_to) state_.rollbacks = 0;
  return !stop;
}

bool Run::train() {
  on_root(mesh_->world(), [&] {
    open_outputs();
    return std::string();
  });
  std::optional<Progress> progress;
  if (root()) progress.emplace(config_.name, static_cast<std::uint64_t>(config_.train.steps - state_.step));
  bool go_on = true;
  if (state_.unfinished) go_on = finish_step(*state_.unfinished);
  while (go_on && state_.step < config_.train.steps) {
    const ordered_json record = one_step();
    if (progress) {
      progress->advance(1, fmt::format("step {}  loss {:.4f}  {:.0f} tokens/s", state_.step,
                                       record["loss"].get<double>(), record["tokens_per_second"].get<double>()));
    }
    go_on = finish_step(record);
  }
  if (progress) progress->finish();
  const bool done = state_.step == config_.train.steps && !state_.unfinished;
  keeper_.save_now(state_.step);
  if (done) {
    finish();
  } else if (root()) {
    log_warning("stopped by {} after step {} of {}; {} holds everything to go on from (--resume)", stop_signal_name(),
                state_.step, config_.train.steps, checkpoints_.complete(state_.step).string());
  }
  return done;
}

// The mark by which scripts tell a finished run from one to resume.
void Run::finish() {
  if (!root()) return;
  ordered_json finished = {{"step", state_.step}, {"tokens", state_.tokens}, {"time", local_time()}};
  if (std::optional<ordered_json> report = keeper_.take_report()) finished["checkpoint"] = std::move(*report);
  write_file_atomically(directory_.finished_mark(), finished.dump() + "\n");
  log_info("{} finished: {} steps, {} tokens, in {}", config_.name, state_.step, state_.tokens, path().string());
}

// ---- once more -----------------------------------------------------------------------------------------------------

ordered_json Run::rerun(std::int64_t step, const CheckpointDirectory& source,
                        const std::function<RunSnapshots(std::uint64_t)>& snapshots_of) {
  const std::string nearest = on_root(mesh_->world(), [&] {
    const std::vector<std::filesystem::path> found = source.up_to(step - 1);
    return found.empty() ? std::string() : found.front().string();
  });
  if (!nearest.empty()) load(nearest, verified_manifest(nearest, mesh_->world()), Mismatch::refuse);
  state_.unfinished.reset();
  if (root()) log_info("from {}", nearest.empty() ? "the beginning" : nearest);
  while (state_.step < step - 1) one_step();
  const RunSnapshots snapshots = snapshots_of(state_.next_sample());
  const auto take = [&] {
    snapshots.take(directory_.snapshots(), state_.step, state_.tokens, identity_, engine_.model(), *mesh_);
  };
  take();
  ordered_json record = one_step();
  take();
  return record;
}

}  // namespace headroom
