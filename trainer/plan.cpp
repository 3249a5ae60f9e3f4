#include "trainer/plan.h"

#include <algorithm>
#include <numeric>

#include "parallel/mesh.h"
#include "trainer/communication_formula.h"
#include "trainer/engine.h"

namespace headroom {
namespace {

// What the driver, cuBLAS, cuDNN and NCCL keep for themselves on a device.
constexpr double kReserved = 1.5 * 1073741824.0;
// Working memory of a GPU's operations that is part of a run's arena.
constexpr std::int64_t kWorkspace = std::int64_t{320} << 20;
constexpr std::int64_t kVocabulary = 65536;  // when the config leaves it to a corpus

// Bytes that a token moves through memory in the passes that are no products, forward and backward, on one rank. Every
// tensor read or written counts once; s is a number's size.
double pass_bytes_per_token(const RunConfig& config, const Layout& layout) {
  const ModelConfig& model = config.model;
  const auto real = [](std::int64_t value) { return static_cast<double>(value); };
  const auto number = static_cast<double>(size_of(config.train.dtype));
  const double tensor = layout.tensor;
  const double hidden = real(model.hidden_size) / tensor;  // norms work on a rank's own rows
  const double projected = real(model.query_width() + 2 * model.kv_width()) / tensor;
  const double queries = real(model.query_width()) / tensor;
  const double inner = real(model.ffn_size) * (model.gated() ? 2.0 : 1.0) / tensor;
  const double activated = real(model.ffn_size) / tensor;
  const double norms = 2.0 * (4.0 + 4.0) * hidden;  // forward: two in, sum and result out; backward: dy, x, dx twice
  const double rotary =
      model.positions == PositionKind::rotary ? 2.0 * 2.0 * real(model.query_width() + model.kv_width()) / tensor : 0.0;
  const double attention = (projected + queries) + (projected + 2.0 * queries + projected);
  const double feed_forward = (inner + activated) + (activated + 2.0 * inner);
  const double kv_bias = model.attention.kv_bias == KvBiasKind::none ? 0.0 : (3.0 + 4.0) * queries;
  double again = 0.0;  // what recomputing repeats
  if (config.train.recompute >= Recompute::norms) again += 2.0 * 2.0 * hidden + inner + activated;
  if (config.train.recompute >= Recompute::attention) again += rotary / 2.0 + projected + queries;
  const double head = 2.0 * real(model.vocab_size) / tensor + (4.0 + 4.0) * hidden;
  const double embedding = 2.0 * 2.0 * hidden;
  return number *
         (real(model.n_layers) * (norms + rotary + attention + feed_forward + kv_bias + again) + head + embedding);
}

// Floating-point operations of a token's products and attention on one rank, recomputation included. The head is part
// of flops_per_token.
double flops_per_token(const RunConfig& config, const Layout& layout, double model_flops) {
  const ModelConfig& model = config.model;
  const auto real = [](std::int64_t value) { return static_cast<double>(value); };
  const double hidden = real(model.hidden_size);
  const double projections = 2.0 * hidden * real(model.query_width() + 2 * model.kv_width());
  const double scores = 2.0 * real(model.query_width()) * real(model.seq_len);  // causal: half of 4 d T
  const double inner = 2.0 * hidden * real(model.ffn_size) * (model.gated() ? 2.0 : 1.0);
  double again = 0.0;
  if (config.train.recompute >= Recompute::attention) again += projections + scores;
  if (config.train.recompute == Recompute::block) again += 2.0 * hidden * real(model.query_width()) + inner;
  return (model_flops + real(model.n_layers - 1) * again) / layout.tensor;
}

StepPrediction predict(const TrainingPlan& plan, double model_flops, double local_parameters) {
  const RunConfig& config = plan.config;
  const GpuFigures& gpu = plan.gpu;
  const double tokens = static_cast<double>(config.train.global_batch * config.model.seq_len) / plan.layout.data;
  const double bandwidth = gpu.memory_bandwidth * kMemoryShare;
  const auto link = [&](int ranks_apart) {
    return kNetworkShare * (ranks_apart > gpu.gpus_per_node ? gpu.network_bandwidth : gpu.node_bandwidth);
  };

  StepPrediction step;
  step.products =
      tokens * flops_per_token(config, plan.layout, model_flops) / (gpu.flops(config.train.dtype) * kProductShare);
  step.passes = tokens * pass_bytes_per_token(config, plan.layout) / bandwidth;
  const double number = static_cast<double>(size_of(config.train.dtype));
  const double wide = static_cast<double>(size_of(accumulator_of(config.train.dtype)));
  const double moment = config.optim.moments == MomentFormat::bf16 ? 2.0 : wide;
  const double master = number == wide ? 0.0 : 2.0 * wide;
  const double updated = (wide + 4.0 * moment + master + (master > 0.0 ? 1.0 : 2.0) * number) / plan.layout.data;
  step.optimizer =
      local_parameters * (updated + 2.0 * wide) / bandwidth;  // gradients are zeroed, and read for the norm
  step.tensor_traffic = plan.tensor_bytes / link(plan.layout.tensor);
  step.data_traffic = plan.data_bytes / link(plan.layout.ranks());
  // Gradients travel while the last micro-batch's backward, two thirds of its products, runs; parameters do not.
  const double gradient_share = wide / (wide + number);
  const double micro_batches =
      static_cast<double>(config.train.global_batch) / plan.layout.data / static_cast<double>(config.train.micro_batch);
  const double hidden = 2.0 / 3.0 * (step.products + step.passes) / micro_batches;
  step.data_exposed =
      std::max(0.0, step.data_traffic * gradient_share - hidden) + step.data_traffic * (1.0 - gradient_share);
  return step;
}

}  // namespace

TrainingPlan plan_training(const RunConfig& loaded, const Layout& layout, const GpuFigures& gpu) {
  TrainingPlan plan{};
  plan.config = resolved_for(loaded, layout, loaded.model.vocab_size == 0 ? kVocabulary : loaded.model.vocab_size);
  plan.layout = layout;
  plan.gpu = gpu;
  const Mesh mesh = Mesh::imagined(layout, 0);  // rank 0 holds as much as any
  const EnginePlan engine = Engine::plan(plan.config, mesh, Device::cuda, kWorkspace);
  plan.parameters = engine.logical_parameters;
  plan.memory = engine.memory;
  std::sort(plan.memory.begin(), plan.memory.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  for (const Arena::Category& category : plan.memory) plan.memory_bytes += static_cast<double>(category.bytes);
  plan.reserved_bytes = kReserved;
  const CommunicationFormula traffic = communication_formula(plan.config, layout);
  plan.data_bytes = traffic.data_bytes;
  plan.tensor_bytes = traffic.tensor_bytes;
  plan.step = predict(plan, engine.flops_per_token, static_cast<double>(engine.local_parameters));
  const double tokens = static_cast<double>(plan.config.train.global_batch * plan.config.model.seq_len);
  plan.tokens_per_second = tokens / plan.step.seconds();
  plan.mfu = plan.tokens_per_second * engine.flops_per_token / layout.ranks() / gpu.flops(plan.config.train.dtype);
  return plan;
}

}  // namespace headroom
