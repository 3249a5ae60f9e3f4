#include "trainer/engine.h"

#include <cmath>

#include "tensor/ops.h"
#include "trainer/evaluation.h"

namespace headroom {
namespace {

TransformerOptions transformer_options(const RunConfig& config) {
  const double bucket_bytes = config.train.bucket_mb * 1024.0 * 1024.0;
  return {.dtype = config.train.dtype,
          .device = Device::cpu,
          .recompute = config.train.recompute,
          .loss_chunk = config.train.loss_chunk,
          .bucket_elements =
              static_cast<std::int64_t>(bucket_bytes) / static_cast<std::int64_t>(size_of(config.train.dtype))};
}

}  // namespace

Engine::Engine(const RunConfig& config, const Mesh& mesh)
    : config_(config),
      mesh_(&mesh),
      model_(config.model, mesh, transformer_options(config)),
      shard_(model_.parameters(), mesh.data().rank(), mesh.data().size()),
      reduction_(model_.parameters(), shard_, mesh),
      optimizer_(model_.parameters(), shard_, mesh, config.optim) {
  model_.parameters().initialize(config.seed);
  model_.plan(config.train.micro_batch, config.model.seq_len);
}

StepOutcome Engine::step(std::int64_t step, double lr, std::span<const Batch> micro_batches, ActivationTap* tap,
                         const std::function<void(std::size_t)>& before) {
  ops::zero(model_.parameters().gradients());
  const double tokens = static_cast<double>(config_.train.global_batch * config_.model.seq_len);
  LossSum local;
  for (std::size_t index = 0; index < micro_batches.size(); ++index) {
    before(index);
    const bool last = index + 1 == micro_batches.size();
    local += model_.forward_backward(micro_batches[index], 1.0 / tokens, tap, [&](std::int64_t flat_end) {
      if (last) reduction_.ready(flat_end);
    });
  }
  reduction_.finish();

  StepOutcome outcome;
  outcome.loss = sum_over_data(local, mesh_->data());
  // The passes divided by all tokens; targets that do not count take no part in the mean.
  const double uncounted = tokens / static_cast<double>(outcome.loss.tokens);
  outcome.grad_norm = optimizer_.gradient_norm() * uncounted;
  if (!std::isfinite(outcome.loss.nll) || !std::isfinite(outcome.grad_norm)) {
    throw Error(ExitCode::diverged,
                fmt::format("step {}: loss {} and gradient norm {} are not both finite", step, outcome.loss.mean(),
                            outcome.grad_norm),
                "Lower optim.lr, raise optim.schedule.warmup_steps, or check the data of this step (batch_crc).");
  }
  const double clipping = clip_scale(outcome.grad_norm, config_.optim.clip);
  outcome.clipped = clipping < 1.0;
  optimizer_.update(step, lr, clipping * uncounted);
  if (tvr_due(config_.optim, step)) {
    outcome.tvr = apply_tvr(model_.parameters(), shard_, *mesh_, config_.optim);
  }
  gather_parameters(model_.parameters(), shard_, *mesh_);
  outcome.kv_bias_mass = model_.take_kv_bias_mass();
  mesh_->world().all_reduce(std::span<double>(outcome.kv_bias_mass), Reduction::sum);
  for (double& mass : outcome.kv_bias_mass) mass /= mesh_->world().size();
  return outcome;
}

RunConfig resolved_for(RunConfig config, const Layout& layout, std::int64_t corpus_vocab_size) {
  const auto refuse = [](const std::string& message, const std::string& hint) {
    throw Error(ExitCode::bad_config, message, hint);
  };
  config.parallel.data = layout.data;
  config.parallel.tensor = layout.tensor;
  if (config.model.vocab_size == 0) config.model.vocab_size = corpus_vocab_size;
  if (corpus_vocab_size > config.model.vocab_size) {
    refuse(fmt::format("model.vocab_size = {} is smaller than the corpus' vocabulary of {}", config.model.vocab_size,
                       corpus_vocab_size),
           "Leave model.vocab_size at 0 to take the corpus' own.");
  }
  const std::int64_t batch = config.train.global_batch;
  if (batch % layout.data != 0) {
    refuse(fmt::format("train.global_batch = {} does not divide over {} data ranks", batch, layout.data),
           "Choose a multiple, or another parallel.data.");
  }
  const std::int64_t per_rank = batch / layout.data;
  if (config.train.micro_batch == 0) config.train.micro_batch = per_rank;
  if (per_rank % config.train.micro_batch != 0) {
    refuse(fmt::format("train.micro_batch = {} does not divide a rank's share of train.global_batch: {} / {} = {}",
                       config.train.micro_batch, batch, layout.data, per_rank),
           fmt::format("Choose a divisor of {}, or 0 for all at once.", per_rank));
  }
  config.model = resolved(config.model);
  validate(config.model, config.train.micro_batch * config.model.seq_len, layout.tensor);
  return config;
}

}  // namespace headroom
