#include "trainer/decoder_checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "model/decoder/room.h"
#include "trainer/checkpoint_reader.h"

namespace headroom {
namespace {

using decoder::Config;
using decoder::LayerWeights;
using decoder::LinearWeights;
using decoder::NormWeights;
using decoder::OuterWeights;

class Source final : public decoder::WeightSource {
 public:
  Source(std::filesystem::path checkpoint, const Config& config)
      : checkpoint_(std::move(checkpoint)), manifest_(read_manifest(checkpoint_)), config_(config) {
    for (std::size_t index = 0; index < manifest_.tensors.size(); ++index) {
      index_of_[manifest_.tensors[index].name] = index;
    }
    fill(outer_room_, [&] { outer_ = load_outer(); });
    index("embedding.weight", {config.vocab_size, config.hidden_size});
    if (!config.tied_head) index("head.weight", {config.vocab_size, config.hidden_size});
    for (std::int64_t number = 0; number < config.n_layers; ++number) {  // names and shapes
      decoder::Room nothing;
      room_ = &nothing;
      load_layer(number);
    }
  }

  const OuterWeights& outer() override { return outer_; }

  void embed(std::span<const std::int32_t> ids, Tensor y) override {
    const float* table = embedding();
    float* to = y.data<float>();
    for (const std::int32_t id : ids) {
      std::copy_n(table + id * config_.hidden_size, config_.hidden_size, to);
      to += config_.hidden_size;
    }
  }

  const LayerWeights& layer(std::int64_t number) override {
    if (loaded_ != number) {
      loaded_ = -1;  // where loading fails, nothing is
      fill(layer_room_, [&] { layer_ = load_layer(number); });
      loaded_ = number;
    }
    return layer_;
  }

  Tensor head(std::int64_t first, std::int64_t count) override {
    if (config_.tied_head) {
      const Tensor table(const_cast<float*>(embedding()), {config_.vocab_size, config_.hidden_size}, DType::f32);
      return table.row_range(first, count);
    }
    const std::size_t table = index_of_.at("head.weight");
    Tensor rows;
    loaded_ = -1;
    fill(layer_room_, [&] {
      float* to = room_->take(count * config_.hidden_size);
      if (to != nullptr) read(table, {first, 0, count, config_.hidden_size}, to);
      rows = Tensor(to, {count, config_.hidden_size}, DType::f32);
    });
    return rows;
  }

 private:
  using Extents = std::vector<std::int64_t>;

  // The whole table, from when it is first asked for: its rows would be read one by one, each from a file to be opened.
  const float* embedding() {
    if (embedding_.bytes() == 0) {
      const Rectangle all{0, 0, config_.vocab_size, config_.hidden_size};
      embedding_ = Buffer(static_cast<std::size_t>(all.elements()) * sizeof(float), Device::cpu, "the embedding");
      read(index_of_.at("embedding.weight"), all, static_cast<float*>(embedding_.data()));
    }
    return static_cast<const float*>(embedding_.data());
  }

  // The first time its bytes are checked, which brings them into memory for the reading that follows.
  void read(std::size_t tensor, const Rectangle& place, float* to) {
    if (checked_.insert(tensor).second) check_weights(checkpoint_, manifest_, tensor);
    read_weights(checkpoint_, manifest_, tensor, place, to);
  }

  template <class Load>
  void fill(decoder::Room& room, const Load& load) {
    room_ = &room;
    room.fill(load);
  }

  std::size_t index(const std::string& name, const Extents& shape) const {
    const auto found = index_of_.find(name);
    if (found == index_of_.end()) {
      throw Error(ExitCode::bad_checkpoint, fmt::format("{} has no tensor '{}'", checkpoint_.string(), name),
                  "The checkpoint and the run's config.toml do not belong together.");
    }
    const Manifest::Tensor& tensor = manifest_.tensors[found->second];
    if (tensor.shape != shape) {
      throw Error(ExitCode::bad_checkpoint,
                  fmt::format("{}: tensor '{}' is [{}], the config wants [{}]", checkpoint_.string(), name,
                              fmt::join(tensor.shape, ", "), fmt::join(shape, ", ")),
                  "The checkpoint and the run's config.toml do not belong together.");
    }
    return found->second;
  }

  // Tensors of these numbers of rows under each other; `in` = 0: vectors.
  Tensor stack(const std::vector<std::string>& names, const Extents& rows, std::int64_t in) {
    std::int64_t all = 0;
    for (const std::int64_t one : rows) all += one;
    const std::int64_t width = std::max<std::int64_t>(in, 1);
    float* to = room_->take(all * width);
    float* next = to;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::size_t tensor = index(names[i], in == 0 ? Extents{rows[i]} : Extents{rows[i], in});
      if (to == nullptr) continue;
      read(tensor, {0, 0, rows[i], width}, next);
      next += rows[i] * width;
    }
    return {to, in == 0 ? Shape{all} : Shape{all, in}, DType::f32};
  }

  LinearWeights linear(const std::vector<std::string>& names, const Extents& outs, std::int64_t in, bool bias) {
    LinearWeights weights;
    weights.weight = stack(with(names, ".weight"), outs, in);
    if (bias) weights.bias = stack(with(names, ".bias"), outs, 0);
    return weights;
  }

  static std::vector<std::string> with(std::vector<std::string> names, const char* suffix) {
    for (std::string& name : names) name += suffix;
    return names;
  }

  NormWeights norm(const std::string& name, std::int64_t size, bool bias) {
    NormWeights weights;
    weights.weight = stack({name + ".weight"}, {size}, 0);
    if (bias) weights.bias = stack({name + ".bias"}, {size}, 0);
    if (config_.norm.kind == decoder::NormKind::dyt) weights.alpha = stack({name + ".alpha"}, {1}, 0);
    return weights;
  }

  LayerWeights load_layer(std::int64_t number) {
    const std::string layer = fmt::format("layers.{}.", number);
    const std::string attention = layer + "attention.";
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t kv = config_.kv_width();
    LayerWeights weights;
    weights.attention_norm = norm(layer + "attention_norm", hidden, config_.norm.bias);
    weights.qkv = linear({attention + "q", attention + "k", attention + "v"}, {config_.query_width(), kv, kv}, hidden,
                         config_.qkv_bias);
    if (config_.qk_norm != decoder::QkNorm::none) {
      weights.q_norm.weight = stack({attention + "q_norm.weight"}, {config_.head_dim}, 0);
      weights.k_norm.weight = stack({attention + "k_norm.weight"}, {config_.head_dim}, 0);
    }
    if (config_.kv_bias != decoder::KvBias::none) {
      weights.bias_key = stack({attention + "kv_bias.key"}, {config_.n_kv_heads}, config_.head_dim);
    }
    if (config_.kv_bias == decoder::KvBias::kv) {
      weights.bias_value = stack({attention + "kv_bias.value"}, {config_.n_kv_heads}, config_.head_dim);
    }
    weights.output = linear({attention + "o"}, {hidden}, config_.query_width(), config_.output_bias);
    weights.mlp_norm = norm(layer + "mlp_norm", hidden, config_.norm.bias);
    const std::int64_t ffn = config_.ffn_size;
    weights.up = config_.gated ? linear({layer + "mlp.gate", layer + "mlp.up"}, {ffn, ffn}, hidden, config_.mlp_bias)
                               : linear({layer + "mlp.up"}, {ffn}, hidden, config_.mlp_bias);
    weights.down = linear({layer + "mlp.down"}, {hidden}, ffn, config_.mlp_bias);
    return weights;
  }

  OuterWeights load_outer() {
    OuterWeights weights;
    if (config_.learned_positions) {
      weights.positions = stack({"positions.weight"}, {config_.max_positions}, config_.hidden_size);
    }
    if (config_.embedding_scale) weights.embedding_scale = stack({"embedding.scale"}, {1}, 0);
    weights.final_norm = norm("final_norm", config_.hidden_size, config_.norm.bias);
    return weights;
  }

  const std::filesystem::path checkpoint_;
  const Manifest manifest_;
  const Config config_;
  std::map<std::string, std::size_t> index_of_;
  std::set<std::size_t> checked_;  // tensors
  Buffer embedding_;
  decoder::Room outer_room_;
  decoder::Room layer_room_;
  decoder::Room* room_ = nullptr;  // of what is being loaded
  OuterWeights outer_;
  LayerWeights layer_;
  std::int64_t loaded_ = -1;  // the layer that is in its room
};

// What keeps a model from being one of ours, the first thing that does; null: nothing.
const char* not_ours(const Config& config) {
  const auto any_layer = [&](auto holds) { return std::any_of(config.layers.begin(), config.layers.end(), holds); };
  if (config.projects()) return "projections around the embedding";
  if (config.embedding_multiplier != 1.0) return "a fixed multiplier of the embedding";
  if (config.norm.offset) return "norms whose weights are differences from 1";
  if (!config.norm.weight) return "norms without weights";
  if (config.place != decoder::NormPlace::pre) return "norms behind attention and feed-forward";
  if (config.parallel != decoder::Parallel::no) return "attention and feed-forward side by side";
  if (!config.final_norm) return "no final norm";
  if (config.ropes.size() > 1) return "rotary angles that differ from layer to layer";
  for (const decoder::Rope& rope : config.ropes) {
    if (rope.dims != config.head_dim) return "heads of which a part is rotated";
    if (rope.scaling != decoder::RopeScaling::none) return "scaled rotary angles";
  }
  if (any_layer([&](const decoder::LayerKind& layer) { return (layer.rope < 0) != config.learned_positions; })) {
    return "layers without positions";
  }
  if (any_layer([](const decoder::LayerKind& layer) { return layer.score_scale != 0.0; })) {
    return "a scale of attention's scores of its own";
  }
  if (config.qk_norm == decoder::QkNorm::head_layer) return "LayerNorm of queries and keys";
  if (config.qk_norm == decoder::QkNorm::full_rms) return "a norm of queries and keys over all heads";
  if (config.score_softcap != 0.0 || config.logit_softcap != 0.0) return "soft caps";
  if (config.clip_qkv != 0.0) return "clipped queries, keys and values";
  if (config.gated != (config.activation == decoder::Activation::silu)) {
    return config.gated ? "a gated feed-forward with another activation than SiLU" : "SiLU without a gate";
  }
  if (config.head_bias) return "a bias of the head";
  return nullptr;
}

}  // namespace

Config decoder_config(const ModelConfig& model) {
  Config config;
  config.family = "headroom";
  config.vocab_size = model.vocab_size;
  config.hidden_size = config.embedding_size = model.hidden_size;
  config.n_layers = model.n_layers;
  config.n_heads = model.n_heads;
  config.n_kv_heads = model.n_kv_heads;
  config.head_dim = model.head_dim;
  config.ffn_size = model.ffn_size;
  config.max_positions = model.seq_len;
  config.embedding_scale = model.embedding_scale;
  config.learned_positions = model.positions == PositionKind::learned;
  config.norm.kind = model.norm;
  config.norm.eps = model.norm_eps;
  config.norm.bias = model.norm_bias && model.norm != NormKind::rms;
  const bool rotary = model.positions == PositionKind::rotary;
  if (rotary) {
    decoder::Rope rope;
    rope.theta = model.rope_theta;
    rope.dims = model.head_dim;
    config.ropes = {rope};
  }
  config.layers.assign(static_cast<std::size_t>(model.n_layers), {0, rotary ? 0 : -1, 0.0});
  config.qk_norm = model.qk_norm ? decoder::QkNorm::head_rms : decoder::QkNorm::none;
  config.kv_bias = model.attention.kv_bias;
  config.qkv_bias = config.output_bias = config.mlp_bias = model.bias;
  config.gated = model.gated();
  switch (model.activation) {
    case Activation::swiglu:
      config.activation = decoder::Activation::silu;
      break;
    case Activation::gelu:
      config.activation = decoder::Activation::gelu;
      break;
    case Activation::gelu_tanh:
      config.activation = decoder::Activation::gelu_tanh;
      break;
    case Activation::relu:
      config.activation = decoder::Activation::relu;
      break;
  }
  config.tied_head = model.tied_head;
  return config;
}

ModelConfig model_config(const Config& config) {
  if (const char* const lacking = not_ours(config)) {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("this {} model has {}, which ours have not", config.family, lacking),
                "It can be looked at as it is: `headroom analyze`, `eval`, `generate` and `forward` read it.");
  }
  ModelConfig model;
  model.vocab_size = config.vocab_size;
  model.hidden_size = config.hidden_size;
  model.n_layers = config.n_layers;
  model.n_heads = config.n_heads;
  model.n_kv_heads = config.n_kv_heads;
  model.head_dim = config.head_dim;
  model.ffn_size = config.ffn_size;
  model.seq_len = config.max_positions;
  for (const decoder::LayerKind& layer : config.layers) {
    if (layer.window > 0) model.seq_len = std::min(model.seq_len, layer.window);
  }
  model.norm = config.norm.kind;
  model.norm_eps = config.norm.eps;
  model.norm_bias = config.norm.bias;
  switch (config.activation) {
    case decoder::Activation::silu:
      model.activation = Activation::swiglu;
      break;
    case decoder::Activation::gelu:
      model.activation = Activation::gelu;
      break;
    case decoder::Activation::gelu_tanh:
      model.activation = Activation::gelu_tanh;
      break;
    case decoder::Activation::relu:
      model.activation = Activation::relu;
      break;
  }
  model.positions = config.learned_positions ? PositionKind::learned : PositionKind::rotary;
  if (!config.ropes.empty()) model.rope_theta = config.ropes[0].theta;
  model.bias = config.qkv_bias || config.output_bias || config.mlp_bias;
  model.tied_head = config.tied_head;
  model.qk_norm = config.qk_norm != decoder::QkNorm::none;
  model.embedding_scale = config.embedding_scale;
  model.attention.kv_bias = config.kv_bias;
  return model;
}

std::unique_ptr<decoder::WeightSource> checkpoint_weights(const std::filesystem::path& checkpoint,
                                                          const Config& config) {
  return std::make_unique<Source>(checkpoint, config);
}

}  // namespace headroom
