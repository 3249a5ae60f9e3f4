#include "model/decoder/decoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "model/decoder/kept_weights.h"
#include "tensor/cached_attention.h"
#include "tensor/host_rows.h"
#include "tensor/ops.h"

namespace headroom::decoder {
namespace {

// Rows that go through a layer together, unless a single sequence has more: enough for matrix products at full speed.
constexpr std::int64_t kRows = 1024;
// Rows and ids whose logits are there at once.
constexpr std::int64_t kLogitRows = 2048;
constexpr std::int64_t kIds = 8192;

host::RowActivation row_activation(Activation kind) {
  switch (kind) {
    case Activation::silu:
      return host::RowActivation::silu;
    case Activation::gelu:
      return host::RowActivation::gelu;
    case Activation::gelu_tanh:
      return host::RowActivation::gelu_tanh;
    case Activation::relu:
      break;
  }
  return host::RowActivation::relu;
}

void linear(const LinearWeights& weights, const Tensor& x, Tensor y) {
  ops::matmul(x, Transpose::no, weights.weight, weights.transposed ? Transpose::no : Transpose::yes, y, 1.0, 0.0);
  if (weights.bias.present()) ops::add_bias(weights.bias, y);
}

}  // namespace

// Memory that grows to what the largest group needs.
struct Decoder::Scratch {
  class Block {
   public:
    Tensor tensor(Shape shape) {
      const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * sizeof(float);
      if (bytes > memory_.bytes()) {
        memory_ = Buffer();
        memory_ = Buffer(bytes, Device::cpu, "activations");
      }
      return memory_.tensor(shape, DType::f32);
    }

   private:
    Buffer memory_;
  };
  Block normed, attention, mlp, qkv, heads, lse, mass, inner, activated, statistics, logits;
};

Decoder::Decoder(Config config, std::unique_ptr<WeightSource> weights)
    : config_(std::move(config)), weights_(std::move(weights)), scratch_(std::make_unique<Scratch>()) {
  ones_ = Buffer(static_cast<std::size_t>(config_.hidden_size) * sizeof(float), Device::cpu, "ones");
  std::fill_n(static_cast<float*>(ones_.data()), config_.hidden_size, 1.0F);
}

Decoder::~Decoder() = default;

void Decoder::keep_weights(std::int64_t limit) {
  weights_ = decoder::keep_weights(std::move(weights_), config_, limit);
}

void Decoder::prepare_ropes(std::int64_t positions) {
  if (positions <= rope_positions_) return;
  rope_positions_ = std::max(positions, 2 * rope_positions_);  // a sequence that grows makes few tables
  ropes_.clear();
  long_ropes_.clear();
  for (const Rope& rope : config_.ropes) {
    const bool also_long = has_long_angles(rope, rope_positions_);
    const auto most = also_long ? static_cast<std::int64_t>(rope.original_positions) : rope_positions_;
    ropes_.push_back(make_rope_table(rope, most, most));
    long_ropes_.push_back(also_long ? make_rope_table(rope, rope_positions_, rope_positions_) : RopeTable());
  }
}

const RopeTable& Decoder::rope_table(int rope, std::int64_t length) const {
  const auto at = static_cast<std::size_t>(rope);
  return has_long_angles(config_.ropes[at], length) ? long_ropes_[at] : ropes_[at];
}

States Decoder::embed(std::span<const Sequence> sequences, std::int64_t first) {
  std::vector<std::int64_t> lengths;
  for (const Sequence& ids : sequences) {
    const auto length = static_cast<std::int64_t>(ids.size());
    if (length == 0) throw Error(ExitCode::bad_data, "a sequence without tokens");
    if (config_.learned_positions && first + length > config_.max_positions) {
      throw Error(
          ExitCode::bad_data,
          fmt::format("a sequence of {} tokens; the model has {} positions", first + length, config_.max_positions),
          "Use shorter sequences.");
    }
    const auto wrong =
        std::find_if(ids.begin(), ids.end(), [&](std::int32_t id) { return id < 0 || id >= config_.vocab_size; });
    if (wrong != ids.end()) {
      throw Error(ExitCode::bad_data, fmt::format("token id {} of a vocabulary of {}", *wrong, config_.vocab_size),
                  "Ids and model do not belong together.");
    }
    lengths.push_back(length);
  }
  prepare_ropes(lengths.empty() ? 0 : first + *std::max_element(lengths.begin(), lengths.end()));
  const OuterWeights& outer = weights_->outer();
  States states(lengths, config_.hidden_size);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const Tensor x = states.of(i);
    const Tensor rows = config_.projects() ? scratch_->normed.tensor({lengths[i], config_.embedding_size}) : x;
    weights_->embed(sequences[i], rows);
    if (config_.embedding_multiplier != 1.0) host::scale(config_.embedding_multiplier, rows);
    if (config_.embedding_scale) host::scale(outer.embedding_scale.data<float>()[0], rows);
    if (config_.projects()) linear(outer.project_in, rows, x);
    if (config_.learned_positions) ops::add(outer.positions.row_range(config_.position_offset + first, lengths[i]), x);
  }
  return states;
}

void Decoder::norm(const NormWeights& weights, const Tensor& x, Tensor y) {
  const Tensor weight = weights.weight.present() ? weights.weight : ones_.tensor({config_.hidden_size}, DType::f32);
  const Tensor statistics = scratch_->statistics.tensor({2, x.rows()});
  switch (config_.norm.kind) {
    case NormKind::rms:
      return ops::rms_norm(x, weight, config_.norm.eps, y, statistics.row_range(0, 1));
    case NormKind::layer:
      return ops::layer_norm(x, weight, weights.bias, config_.norm.eps, y, statistics.row_range(0, 1),
                             statistics.row_range(1, 1));
    case NormKind::dyt:
      return ops::dyt(x, weights.alpha, weight, weights.bias, y);
  }
}

void Decoder::norm_in_place(const NormWeights& weights, Tensor x) const {
  HEADROOM_CHECK(config_.norm.kind != NormKind::dyt, "DyT comes before attention and feed-forward only");
  host::norm_blocks(config_.norm.kind == NormKind::layer, config_.norm.eps, weights.weight, weights.bias,
                    {0, 1, config_.hidden_size}, x);
}

void Decoder::attend(std::int64_t layer, const LayerWeights& weights, const Tensor& x, const States& states,
                     std::size_t first, std::size_t last, const Watch& watch, Tensor y) {
  const LayerKind& kind = config_.layers[static_cast<std::size_t>(layer)];
  const std::int64_t query_width = config_.query_width();
  const Tensor qkv = scratch_->qkv.tensor({x.rows(), query_width + 2 * config_.kv_width()});
  const Tensor heads = scratch_->heads.tensor({x.rows(), query_width});
  linear(weights.qkv, x, qkv);
  if (config_.clip_qkv > 0.0) host::clamp(config_.clip_qkv, qkv);
  if (config_.qk_norm != QkNorm::none) {
    const bool full = config_.qk_norm == QkNorm::full_rms;
    const bool centred = config_.qk_norm == QkNorm::head_layer;
    const std::int64_t width = config_.head_dim;
    const auto blocks = [&](std::int64_t begin, std::int64_t count) {
      return full ? host::ColumnBlocks{begin, 1, count * width} : host::ColumnBlocks{begin, count, width};
    };
    host::norm_blocks(centred, config_.norm.eps, weights.q_norm.weight, weights.q_norm.bias, blocks(0, config_.n_heads),
                      qkv);
    host::norm_blocks(centred, config_.norm.eps, weights.k_norm.weight, weights.k_norm.bias,
                      blocks(query_width, config_.n_kv_heads), qkv);
  }
  for (std::size_t i = first; i < last; ++i) {
    const std::int64_t begin = states.start(i) - states.start(first);
    const std::int64_t length = states.length(i);
    const AttentionShape shape{1,
                               length,
                               config_.n_heads,
                               config_.n_kv_heads,
                               config_.head_dim,
                               kind.window,
                               config_.score_softcap,
                               kind.score_scale};
    const Tensor own = qkv.row_range(begin, length);
    const Tensor out = heads.row_range(begin, length);
    const Tensor lse = scratch_->lse.tensor({config_.n_heads, length});
    const Tensor mass = config_.kv_bias == KvBias::none ? Tensor() : scratch_->mass.tensor({config_.n_heads, length});
    if (kind.rope >= 0) {
      const std::int64_t position = watch.cache == nullptr ? 0 : watch.cache->length();
      const RopeTable& rope = rope_table(kind.rope, position + length);
      ops::rotary(rope.cos.row_range(position, length), rope.sin.row_range(position, length), shape, false, own);
    }
    attend_to(layer, weights, shape, own, watch.cache, out, lse, mass);
    if (watch.tap != nullptr) watch.tap->attention(layer, i, AttentionView{own, lse, mass, shape, 0});
  }
  linear(weights.output, heads, y);
}

void Decoder::attend_to(std::int64_t layer, const LayerWeights& weights, const AttentionShape& shape, const Tensor& qkv,
                        KeyValueCache* cache, Tensor out, Tensor lse, Tensor mass) {
  if (cache != nullptr) {
    cache->store(layer, qkv);
    if (cache->length() > 0) {
      return host::cached_attention(qkv, shape, cache->of(layer), weights.bias_key, weights.bias_value, out);
    }
  }
  ops::attention(qkv, shape, out, lse);
  if (mass.present()) ops::kv_bias(qkv, weights.bias_key, weights.bias_value, shape, out, lse, mass);
}

void Decoder::feed_forward(const LayerWeights& weights, const Tensor& x, Tensor y) {
  const std::int64_t ffn = config_.ffn_size;
  const Tensor inner = scratch_->inner.tensor({x.rows(), config_.gated ? 2 * ffn : ffn});
  const Tensor activated = config_.gated ? scratch_->activated.tensor({x.rows(), ffn}) : inner;
  linear(weights.up, x, inner);
  if (config_.gated) {
    host::activate_gated(row_activation(config_.activation), inner, activated);
  } else {
    host::activate(row_activation(config_.activation), inner, activated);
  }
  linear(weights.down, activated, y);
}

void Decoder::apply(std::int64_t layer, States& states, Tap* tap) {
  const LayerWeights& weights = weights_->layer(layer);
  for (std::size_t first = 0; first < states.count();) {
    std::size_t last = first + 1;
    while (last < states.count() && states.start(last + 1) - states.start(first) <= kRows) ++last;
    apply_to(layer, weights, states, first, last, {tap, nullptr});
    first = last;
  }
}

void Decoder::apply(std::int64_t layer, States& states, KeyValueCache& cache) {
  HEADROOM_CHECK(states.count() == 1, "a cache is one sequence's, not {}", states.count());
  apply_to(layer, weights_->layer(layer), states, 0, 1, {nullptr, &cache});
}

void Decoder::apply_to(std::int64_t layer, const LayerWeights& weights, States& states, std::size_t first,
                       std::size_t last, const Watch& watch) {
  Tap* const tap = watch.tap;
  const Tensor x = states.all().row_range(states.start(first), states.start(last) - states.start(first));
  const Shape shape{x.rows(), config_.hidden_size};
  const Tensor normed = scratch_->normed.tensor(shape);
  const Tensor attention = scratch_->attention.tensor(shape);
  const Tensor mlp = scratch_->mlp.tensor(shape);
  const auto show = [&](Site site, const Tensor& rows) {
    if (tap == nullptr) return;
    for (std::size_t i = first; i < last; ++i) {
      tap->hidden(site, layer, i, rows.row_range(states.start(i) - states.start(first), states.length(i)));
    }
  };
  // Both halves have the same plan: what is read, and what is done with what comes out.
  const auto normed_input = [&](const NormWeights& own, Site site) -> Tensor {
    const bool before = config_.place == NormPlace::pre || config_.place == NormPlace::sandwich;
    if (!before) return x;
    norm(own, x, normed);
    show(site, normed);
    return normed;
  };
  const auto add = [&](const NormWeights& own, const NormWeights& output, const Tensor& sum, Site site) {
    const bool behind = config_.place == NormPlace::post_output || config_.place == NormPlace::sandwich;
    if (behind) norm_in_place(config_.place == NormPlace::sandwich ? output : own, sum);
    show(site, sum);
    ops::add(sum, x);
    if (config_.place == NormPlace::post_sum) norm_in_place(own, x);
  };
  const Tensor attention_input = normed_input(weights.attention_norm, Site::attention_norm_output);
  attend(layer, weights, attention_input, states, first, last, watch, attention);
  if (config_.parallel == Parallel::no) {
    add(weights.attention_norm, weights.attention_output_norm, attention, Site::attention_output);
    feed_forward(weights, normed_input(weights.mlp_norm, Site::mlp_norm_output), mlp);
    add(weights.mlp_norm, weights.mlp_output_norm, mlp, Site::mlp_output);
  } else {
    if (config_.parallel == Parallel::two_norms) norm(weights.mlp_norm, x, normed);
    show(Site::mlp_norm_output, normed);
    feed_forward(weights, normed, mlp);
    show(Site::attention_output, attention);
    show(Site::mlp_output, mlp);
    ops::add(attention, x);
    ops::add(mlp, x);
  }
  show(Site::block_output, x);
}

States Decoder::finish(const States& states, Tap* tap) {
  const OuterWeights& outer = weights_->outer();
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < states.count(); ++i) lengths.push_back(states.length(i));
  States features(lengths, config_.embedding_size);
  for (std::size_t i = 0; i < states.count(); ++i) {
    const Tensor x = states.of(i);
    const Tensor y = features.of(i);
    const Tensor normed = config_.projects() ? scratch_->normed.tensor({x.rows(), config_.hidden_size}) : y;
    if (config_.final_norm) {
      norm(outer.final_norm, x, normed);
    } else {
      ops::copy(x, normed);
    }
    if (tap != nullptr) tap->hidden(Site::final_norm_output, 0, i, normed);
    if (config_.projects()) linear(outer.project_out, normed, y);
  }
  return features;
}

void Decoder::each_logits(const States& features, const std::function<void(const LogitsBlock&)>& take) {
  const Tensor& bias = weights_->outer().head_bias;
  for (std::int64_t first_id = 0; first_id < config_.vocab_size; first_id += kIds) {
    const std::int64_t ids = std::min(kIds, config_.vocab_size - first_id);
    const Tensor head = weights_->head(first_id, ids);
    for (std::int64_t first_row = 0; first_row < features.rows(); first_row += kLogitRows) {
      const std::int64_t rows = std::min(kLogitRows, features.rows() - first_row);
      const Tensor logits = scratch_->logits.tensor({rows, ids});
      ops::matmul(features.all().row_range(first_row, rows), Transpose::no, head, Transpose::yes, logits, 1.0, 0.0);
      if (bias.present()) ops::add_bias(bias.flat_range(first_id, ids), logits);
      if (config_.logit_softcap > 0.0) host::soft_cap(config_.logit_softcap, logits);
      take({first_row, first_id, logits});
    }
  }
}

}  // namespace headroom::decoder
