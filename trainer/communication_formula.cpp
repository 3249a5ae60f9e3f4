#include "trainer/communication_formula.h"

#include "parallel/communicator.h"

namespace headroom {
namespace {

struct ParameterCounts {
  double split = 0.0;       // cut over the tensor ranks
  double replicated = 0.0;  // held by each of them
};

ParameterCounts count_parameters(const ModelConfig& model) {
  const auto real = [](std::int64_t value) { return static_cast<double>(value); };
  const double hidden = real(model.hidden_size);
  const double layers = real(model.n_layers);
  const double inner = (model.gated() ? 2.0 : 1.0) * real(model.ffn_size);
  const double projections = real(model.query_width() + 2 * model.kv_width());
  const double norm =
      (model.norm == NormKind::dyt ? 1.0 : 0.0) + hidden * (model.norm_bias && model.norm != NormKind::rms ? 2.0 : 1.0);
  const double bias_slots = model.attention.kv_bias == KvBiasKind::kv  ? 2.0
                            : model.attention.kv_bias == KvBiasKind::k ? 1.0
                                                                       : 0.0;
  ParameterCounts counts;
  counts.split = layers * (hidden * (projections + real(model.query_width()) + inner + real(model.ffn_size)) +
                           (model.bias ? projections + inner : 0.0) + bias_slots * real(model.kv_width())) +
                 real(model.vocab_size) * hidden * (model.tied_head ? 1.0 : 2.0);
  counts.replicated = (2.0 * layers + 1.0) * norm + (model.bias ? layers * 2.0 * hidden : 0.0) +
                      (model.qk_norm ? layers * 2.0 * real(model.head_dim) : 0.0) +
                      (model.embedding_scale ? 1.0 : 0.0) +
                      (model.positions == PositionKind::learned ? real(model.seq_len) * hidden : 0.0);
  return counts;
}

// Bytes a rank sends in an all-reduce of `bytes` (parallel/communicator.h).
double all_reduce_bytes(double bytes, double ranks) {
  const bool small = bytes * ranks <= static_cast<double>(kSmallAllReduce);
  return small ? (ranks - 1.0) * bytes : 2.0 * (ranks - 1.0) / ranks * bytes;
}

// A micro-batch's maxima [chunk], sums of exponentials and target logits [2, chunk], chunk after chunk of rows.
double cross_entropy_bytes(std::int64_t rows, std::int64_t chunk, double number, double ranks) {
  const auto of_chunk = [&](std::int64_t count) {
    const double bytes = static_cast<double>(count) * number;
    return all_reduce_bytes(bytes, ranks) + all_reduce_bytes(2.0 * bytes, ranks);
  };
  return static_cast<double>(rows / chunk) * of_chunk(chunk) + of_chunk(rows % chunk);
}

// Exchanges of hidden states that a block's backward makes again: its two normed inputs are gathered, and whoever kept
// nothing of the block also sums the attention's output.
double exchanges_again(Recompute level) {
  if (level == Recompute::none) return 0.0;
  return level == Recompute::block ? 3.0 : 2.0;
}

}  // namespace

CommunicationFormula communication_formula(const RunConfig& config, const Layout& layout) {
  const ModelConfig& model = config.model;
  const ParameterCounts parameters = count_parameters(model);
  const auto bytes = static_cast<double>(size_of(config.train.dtype));
  const auto wide = static_cast<double>(size_of(accumulator_of(config.train.dtype)));
  const double data = layout.data;
  const double tensor = layout.tensor;
  const double local = parameters.split / tensor + parameters.replicated;

  CommunicationFormula formula;
  // The norm's and the loss' sums are a few numbers.
  constexpr double kNumber = sizeof(double);
  formula.data_bytes = (data - 1.0) / data * local * (wide + bytes) + (data - 1.0) * 3.0 * kNumber;

  const std::int64_t rows = config.train.micro_batch * model.seq_len;
  const double micro_batches =
      static_cast<double>(config.train.global_batch) / data / static_cast<double>(config.train.micro_batch);
  const double layers = static_cast<double>(model.n_layers);
  const double exchanges = 8.0 * layers + 4.0 + exchanges_again(config.train.recompute) * (layers - 1.0);
  const double hidden_states =
      (tensor - 1.0) / tensor * exchanges * static_cast<double>(rows * model.hidden_size) * bytes;
  formula.tensor_bytes =
      micro_batches * (hidden_states + cross_entropy_bytes(rows, config.train.loss_chunk, wide, tensor)) +
      all_reduce_bytes(parameters.replicated * wide, tensor) + (tensor - 1.0) * kNumber;
  return formula;
}

}  // namespace headroom
