// A run's step: what is recorded of it, whether it was made, and what is looked at after it.
#include <cmath>

#include "base/activity.h"
#include "base/stopwatch.h"
#include "optim/schedule.h"
#include "tensor/backend.h"
#include "trainer/evaluation.h"
#include "trainer/run.h"
#include "trainer/step_record.h"

namespace headroom {
namespace {

using nlohmann::ordered_json;

double seconds_waiting(const Mesh& mesh) {
  return mesh.data().seconds_waiting() + mesh.tensor().seconds_waiting() + mesh.world().seconds_waiting();
}

// Happens every `every` steps and always at the last one.
bool due(std::int64_t step, std::int64_t every, std::int64_t last) {
  return step == last || (every > 0 && step % every == 0);
}

}  // namespace

ordered_json Run::one_step() {
  const std::int64_t step = state_.step + 1;
  note_step(step);
  const std::int64_t step_tokens = config_.train.global_batch * config_.model.seq_len;
  const Stopwatch watch;
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
  record.seconds = watch.seconds();
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
    const Stopwatch watch;
    const std::optional<LossSum> loss =
        evaluate_held_out(engine_.model(), held_out_, config_.train.micro_batch, *mesh_);
    if (!loss) return false;
    record["eval"] = {{"loss", loss->mean()},
                      {"perplexity", std::exp(loss->mean())},
                      {"tokens", loss->tokens},
                      {"seconds", watch.seconds()}};
    if (root())
      log_info("step {}: held-out loss {:.4f}, perplexity {:.2f}", step, loss->mean(), std::exp(loss->mean()));
  }
  if (tasks_ && !tasks_->empty() && due(step, config_.eval.tasks_every, last) && !record.contains("tasks")) {
    std::optional<ordered_json> found = tasks_->evaluate(engine_.model(), *mesh_);
    if (!found) return false;
    if (root()) log_info("step {}: tasks {}", step, found->dump());
    record["tasks"] = std::move(*found);
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

}  // namespace headroom
