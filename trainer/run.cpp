#include "trainer/run.h"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/system.h"
#include "base/version.h"
#include "optim/schedule.h"
#include "parallel/agreement.h"
#include "parallel/runtime.h"
#include "tensor/backend.h"
#include "trainer/communication_formula.h"
#include "trainer/config_schema.h"
#include "trainer/hardware.h"

namespace headroom {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kAllReduceProbe = 4 << 20;  // bytes of the start-up's timed all-reduce

// All ranks are taken to have what this one has.
double peak_flops(const RunConfig& config, const Mesh& mesh, Device device) {
  const GpuFigures* const gpu = find_gpu(backend(device).devices().front());
  return gpu == nullptr ? 0.0 : gpu->flops(config.train.dtype) * mesh.world().size();
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

void Run::open_outputs() {
  // The record of a step that is not finished comes again.
  std::error_code absent;
  const std::int64_t kept = state_.unfinished ? state_.step - 1 : state_.step;
  write_file_atomically(directory_.config_file(), to_toml(config_));
  const bool anew = state_.step > 0 && !std::filesystem::exists(directory_.metrics_file(), absent);
  metrics_.emplace(directory_.metrics_file(), kept, state_.step > 0 ? std::optional(state_.metrics) : std::nullopt);
  if (anew) {
    log_warning("{} is missing: the run goes on without its past metrics", directory_.metrics_file().string());
    metrics_->write(kMetricsBegunAnew);
  }
  if (config_.log.tensorboard) events_.emplace(directory_.tensorboard(), kept);
  if (state_.step == config_.train.steps && !state_.unfinished) return;  // finished already
  std::filesystem::remove(directory_.finished_mark(), absent);
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
  if (looked && state_.history.patience_is_over()) {
    give_up_or_roll_back();
  } else if (!stop && state_.step < config_.train.steps) {
    keeper_.after_step(state_.step, state_.history.bad_in_a_row().empty(), word[1] == 0);
  }
  if (keeper_.newest().value_or(0) > state_.rolled_back_to) state_.rollbacks = 0;
  return !stop;
}

bool Run::train() {
  tasks_.emplace(config_, *corpus_);
  on_root(mesh_->world(), [&] {
    open_outputs();
    return std::string();
  });
  std::optional<Progress> progress;
  const std::int64_t from = state_.step;
  if (root()) progress.emplace(config_.name, static_cast<std::uint64_t>(config_.train.steps - from));
  bool go_on = true;
  if (state_.unfinished) {
    go_on = finish_step(*state_.unfinished);
    if (!state_.unfinished) keeper_.set_newest(std::nullopt);  // the checkpoint of this step is one without its record
  }
  while (go_on && state_.step < config_.train.steps) {
    const ordered_json record = one_step();
    if (progress) {
      progress->set(
          static_cast<std::uint64_t>(std::max<std::int64_t>(0, state_.step - from)),  // a rollback may go behind
          fmt::format("step {}  loss {:.4f}  {:.0f} tokens/s", state_.step, record["loss"].get<double>(),
                      record["tokens_per_second"].get<double>()));
    }
    go_on = finish_step(record);
  }
  const bool done = state_.step == config_.train.steps && !state_.unfinished;
  keeper_.save_now(state_.step);
  if (progress && done) progress->finish();
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

}  // namespace headroom
