#include "trainer/engine.h"

#include <algorithm>

#include "tensor/backend.h"
#include "tensor/round_up.h"
#include "tensor/transfer.h"

namespace headroom {
namespace {

TransformerOptions transformer_options(const RunConfig& config, Device device) {
  const double bucket_bytes = config.train.bucket_mb * 1024.0 * 1024.0;
  const auto number = static_cast<std::int64_t>(size_of(accumulator_of(config.train.dtype)));
  return {.dtype = config.train.dtype,
          .device = device,
          .recompute = config.train.recompute,
          .loss_chunk = config.train.loss_chunk,
          .bucket_elements = static_cast<std::int64_t>(bucket_bytes) / number};
}

std::int64_t counted_targets(std::span<const Batch> batches) {
  std::int64_t count = 0;
  for (const Batch& batch : batches) {
    count += std::count_if(batch.targets.begin(), batch.targets.end(), [](std::int32_t target) { return target >= 0; });
  }
  return count;
}

}  // namespace

Engine::Parts::Parts(const RunConfig& config, const Mesh& mesh, Device device)
    : model(config.model, mesh, transformer_options(config, device)),
      shard(model.parameters(), mesh.data().rank(), mesh.data().size()),
      reduction(model.parameters(), shard, mesh),
      optimizer(model.parameters(), shard, mesh, config.optim),
      tvr(model.parameters(), shard, mesh, config.optim) {}

void Engine::Parts::allocate(Arena& arena, const RunConfig& config, std::int64_t workspace_bytes) {
  sums = arena.take({5}, DType::f64, "sums");
  if (workspace_bytes > 0) {
    workspace = arena.take({round_up(workspace_bytes, std::int64_t{8}) / 8}, DType::i64, "workspace");
  }
  optimizer.allocate(arena);
  tvr.allocate(arena);
  model.allocate(arena, config.train.micro_batch, config.model.seq_len);
}

EnginePlan Engine::plan(const RunConfig& config, const Mesh& mesh, Device device, std::int64_t workspace) {
  Parts parts(config, mesh, device);
  Arena measure = Arena::measuring(device);
  parts.allocate(measure, config, workspace);
  const Transformer& model = parts.model;
  return {measure.categories(), model.parameters().logical_elements(), model.parameters().elements(),
          model.flops_per_token(config.model.seq_len)};
}

Engine::Engine(const RunConfig& config, const Mesh& mesh, Device device)
    : config_(config),
      mesh_(&mesh),
      device_(device),
      parts_(config, mesh, device),
      memory_(planned_arena(device, "the model and its optimizer", [&](Arena& arena) {
        parts_.allocate(arena, config, static_cast<std::int64_t>(backend(device).workspace_bytes()));
      })) {
  if (parts_.workspace.present()) {
    backend(device).set_workspace(parts_.workspace.raw(), static_cast<std::size_t>(parts_.workspace.bytes()));
  }
  model().parameters().initialize(config.seed, [&](const Parameter& parameter, std::span<const float> values) {
    parts_.optimizer.set_master(parameter, values);
  });
}

Engine::~Engine() {
  if (parts_.workspace.present()) backend(device_).set_workspace(nullptr, 0);
}

StepOutcome Engine::step(std::int64_t step, double lr, std::span<const Batch> micro_batches, ActivationTap* tap,
                         const std::function<void(std::size_t)>& before, const StepLimits& limits) {
  const double tokens = static_cast<double>(config_.train.global_batch * config_.model.seq_len);
  const Tensor loss = parts_.sums.flat_range(0, 2);
  const Tensor squares = parts_.sums.flat_range(2, 1);
  const Tensor norm_and_scale = parts_.sums.flat_range(3, 2);
  const Tensor scale = parts_.sums.flat_range(4, 1);
  const double begin[] = {0.0, static_cast<double>(counted_targets(micro_batches)), 0.0, 0.0, 0.0};
  upload(std::span<const double>(begin), parts_.sums);
  ops::zero(model().parameters().gradients());
  for (std::size_t index = 0; index < micro_batches.size(); ++index) {
    before(index);
    const bool last = index + 1 == micro_batches.size();
    model().forward_backward(micro_batches[index], 1.0 / tokens, loss.flat_range(0, 1), tap,
                             [&](std::int64_t flat_end) {
                               if (last) parts_.reduction.ready(flat_end);
                             });
  }
  parts_.reduction.finish();
  mesh_->data().all_reduce(loss, Reduction::sum);
  parts_.optimizer.sum_of_squares(squares);
  // The passes divided by all tokens; targets that do not count take no part in the mean.
  ops::gradient_scale(loss, squares, tokens, config_.optim.clip, limits, norm_and_scale);
  parts_.optimizer.update(step, lr, scale);
  const bool rescales = parts_.tvr.due(step);
  if (rescales) parts_.tvr.apply(parts_.optimizer.weights(), scale);
  gather_parameters(model().parameters(), parts_.shard, *mesh_);
  return outcome_of(rescales);
}

// The step's one wait for the device.
StepOutcome Engine::outcome_of(bool rescaled) {
  const std::vector<double> sums = download<double>(parts_.sums);
  StepOutcome outcome;
  outcome.loss = {sums[0], static_cast<std::int64_t>(sums[1])};
  outcome.grad_norm = sums[3];
  outcome.made = sums[4] >= 0.0;
  outcome.clipped = outcome.made && config_.optim.clip > 0.0 && outcome.grad_norm > config_.optim.clip;
  if (rescaled) outcome.tvr = parts_.tvr.report();
  outcome.kv_bias_mass = model().take_kv_bias_mass();
  if (!outcome.kv_bias_mass.empty()) {
    mesh_->world().all_reduce(std::span<double>(outcome.kv_bias_mass), Reduction::sum);
  }
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
