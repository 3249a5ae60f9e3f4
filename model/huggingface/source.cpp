#include "model/huggingface/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "model/decoder/room.h"
#include "model/huggingface/family.h"
#include "model/huggingface/safetensors.h"
#include "tensor/memory.h"
#include "tensor/widen.h"

namespace headroom::huggingface {
namespace {

using decoder::Config;
using decoder::LayerWeights;
using decoder::LinearWeights;
using decoder::NormWeights;
using decoder::OuterWeights;

void widen(const StoredTensor& tensor, std::int64_t first, std::int64_t count, float* to) {
  const std::byte* bytes = tensor.bytes.data();
  // What a file holds may begin at any byte.
  const auto converted = [&](auto convert, auto zero) {
    using Number = decltype(zero);
    const std::byte* begin = bytes + static_cast<std::size_t>(first) * sizeof(Number);
    if (reinterpret_cast<std::uintptr_t>(begin) % alignof(Number) == 0) {
      convert(reinterpret_cast<const Number*>(begin), count, to);
      return;
    }
    std::vector<Number> aligned(static_cast<std::size_t>(count));
    std::memcpy(aligned.data(), begin, aligned.size() * sizeof(Number));
    convert(aligned.data(), count, to);
  };
  switch (tensor.type) {
    case StoredType::f32:
      std::memcpy(to, bytes + static_cast<std::size_t>(first) * sizeof(float),
                  static_cast<std::size_t>(count) * sizeof(float));
      break;
    case StoredType::f16:
      converted(widen_f16, std::uint16_t{});
      break;
    case StoredType::bf16:
      converted(widen_bf16, std::uint16_t{});
      break;
    case StoredType::f64:
      converted(narrow_f64, double{});
      break;
    case StoredType::other:
      HEADROOM_CHECK(false, "no weight");
  }
}

class Source final : public decoder::WeightSource {
 public:
  Source(const std::filesystem::path& directory, const Config& config, const TensorNames& names)
      : config_(config),
        names_(names),
        files_(directory),
        embedding_(stored(names_.embedding + ".weight", {config.vocab_size, config.embedding_size})) {
    choose_head();
    fill(outer_room_, [&] { outer_ = load_outer(); });
    for (std::int64_t number = 0; number < config.n_layers; ++number) check_layer(number);
    refuse_unused();
  }

  const Config& config() const { return config_; }

  const OuterWeights& outer() override { return outer_; }

  void embed(std::span<const std::int32_t> ids, Tensor y) override {
    float* to = y.data<float>();
    for (const std::int32_t id : ids) {
      HEADROOM_CHECK(id >= 0 && id < config_.vocab_size, "token id {} of a vocabulary of {}", id, config_.vocab_size);
      widen(embedding_, id * config_.embedding_size, config_.embedding_size, to);
      to += config_.embedding_size;
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
    const std::int64_t width = config_.embedding_size;
    if (const float* there = in_place(*head_)) {
      return {const_cast<float*>(there) + first * width, {count, width}, DType::f32};
    }
    Tensor rows;
    loaded_ = -1;
    fill(layer_room_, [&] {
      float* to = layer_room_.take(count * width);
      if (to != nullptr) widen(*head_, first * width, count * width, to);
      rows = Tensor(to, {count, width}, DType::f32);
    });
    return rows;
  }

  bool stays(const Tensor& tensor) const override { return files_.holds(tensor.data<float>()); }

 private:
  using Extents = std::vector<std::int64_t>;

  // The first of the names, each behind one of the prefixes, that the files have; or the first of all.
  std::string name_in_files(const std::vector<std::string>& prefixes, const std::string& name) const {
    for (const std::string& prefix : prefixes) {
      if (files_.has(prefix + name)) return prefix + name;
    }
    return prefixes.front() + name;
  }
  const StoredTensor& stored(const std::string& name, const Extents& shape) {
    const std::string full = name_in_files(names_.prefixes, name);
    used_.insert(full);
    return files_.find(full, shape);
  }

  // A tied head that the file has all the same counts where it differs: so transformers reads it.
  void choose_head() {
    const std::string name = name_in_files(names_.heads, ".weight");
    if (config_.tied_head && !files_.has(name)) {
      head_ = &embedding_;
      return;
    }
    head_ = &files_.find(name, {config_.vocab_size, config_.embedding_size});
    if (!config_.tied_head) return;
    const bool same = head_->bytes.size() == embedding_.bytes.size() &&
                      std::memcmp(head_->bytes.data(), embedding_.bytes.data(), embedding_.bytes.size()) == 0;
    if (same) head_ = &embedding_;
    config_.tied_head = same;
  }

  // A layer's tensor that nothing asks for would be without effect in silence.
  void refuse_unused() const {
    const std::string layers = names_.layer.substr(0, names_.layer.find('{'));
    for (const auto& [name, tensor] : files_.all()) {
      const std::string& full = name;
      const bool of_layer = std::any_of(names_.prefixes.begin(), names_.prefixes.end(),
                                        [&](const std::string& prefix) { return full.starts_with(prefix + layers); });
      if (!of_layer || used_.contains(name) || is_buffer(name)) continue;
      throw Error(ExitCode::bad_checkpoint,
                  fmt::format("{} has a tensor '{}', which its config.json does not ask for",
                              files_.directory().string(), name),
                  "The files and config.json do not belong together: another number of layers, or a switch is missing "
                  "(biases, norms of queries and keys).");
    }
  }

  // Masks and angles, which published files hold and everybody computes anew.
  static bool is_buffer(const std::string& name) {
    return name.ends_with(".inv_freq") || name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  }

  static const float* in_place(const StoredTensor& tensor) {
    const bool aligned = reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(float) == 0;
    return tensor.type == StoredType::f32 && aligned ? reinterpret_cast<const float*>(tensor.bytes.data()) : nullptr;
  }

  template <class Load>
  void fill(decoder::Room& room, const Load& load) {
    room_ = &room;
    room.fill(load);
  }

  // A whole tensor as it lies there, or converted.
  Tensor whole(const StoredTensor& tensor, Shape shape) {
    if (const float* there = in_place(tensor)) return {const_cast<float*>(there), shape, DType::f32};
    float* to = room_->take(tensor.elements());
    if (to != nullptr) widen(tensor, 0, tensor.elements(), to);
    return {to, shape, DType::f32};
  }
  Tensor vector(const std::string& name, std::int64_t size) { return whole(stored(name, {size}), {size}); }

  NormWeights norm(const std::string& name, std::int64_t size, bool bias) {
    NormWeights weights;
    if (!config_.norm.weight) return weights;
    weights.weight = vector(name + ".weight", size);
    if (config_.norm.offset) {
      float* to = room_->take(size);
      if (to != nullptr) {
        for (std::int64_t i = 0; i < size; ++i) to[i] = 1.0F + weights.weight.data<float>()[i];
      }
      weights.weight = Tensor(to, {size}, DType::f32);
    }
    if (bias) weights.bias = vector(name + ".bias", size);
    return weights;
  }

  // Before attention and feed-forward, and at the end.
  NormWeights block_norm(const std::string& name) {
    NormWeights weights = norm(name, config_.hidden_size, config_.norm.bias);
    if (config_.norm.kind == decoder::NormKind::dyt) weights.alpha = vector(name + ".alpha", 1);
    return weights;
  }

  // Rows of several tensors under each other.
  LinearWeights stack(const std::vector<std::string>& names, const Extents& outs, std::int64_t in, bool bias) {
    std::int64_t out = 0;
    for (const std::int64_t one : outs) out += one;
    if (names.size() == 1) {
      LinearWeights weights;
      weights.transposed = names_.transposed;
      weights.weight = whole(stored(names[0] + ".weight", weights.transposed ? Extents{in, out} : Extents{out, in}),
                             weights.transposed ? Shape{in, out} : Shape{out, in});
      if (bias) weights.bias = vector(names[0] + ".bias", out);
      return weights;
    }
    HEADROOM_CHECK(!names_.transposed && names.size() == outs.size(), "stacked weights are [out, in]");
    LinearWeights weights;
    weights.weight = stacked(names, ".weight", outs, in);
    if (bias) weights.bias = stacked(names, ".bias", outs, 0);
    return weights;
  }

  // in = 0: of vectors.
  Tensor stacked(const std::vector<std::string>& names, const std::string& part, const Extents& outs, std::int64_t in) {
    const std::int64_t width = std::max<std::int64_t>(in, 1);
    std::int64_t out = 0;
    for (const std::int64_t one : outs) out += one;
    float* to = room_->take(out * width);
    float* next = to;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const StoredTensor& tensor = stored(names[i] + part, in == 0 ? Extents{outs[i]} : Extents{outs[i], in});
      if (to == nullptr) continue;
      widen(tensor, 0, outs[i] * width, next);
      next += outs[i] * width;
    }
    return {to, in == 0 ? Shape{out} : Shape{out, in}, DType::f32};
  }

  // Rows by key-value head (its queries, its key, its value) in our order: all queries, all keys, all values.
  Tensor regrouped(const std::string& name, std::int64_t in) {
    const std::int64_t width = std::max<std::int64_t>(in, 1) * config_.head_dim;
    const std::int64_t queries = config_.n_heads / config_.n_kv_heads;
    const std::int64_t heads = config_.n_heads + 2 * config_.n_kv_heads;
    const std::int64_t out = heads * config_.head_dim;
    const StoredTensor& tensor = stored(name, in == 0 ? Extents{out} : Extents{out, in});
    float* to = room_->take(heads * width);
    for (std::int64_t group = 0; to != nullptr && group < config_.n_kv_heads; ++group) {
      const std::int64_t first = group * (queries + 2);
      widen(tensor, first * width, queries * width, to + group * queries * width);
      widen(tensor, (first + queries) * width, width, to + (config_.n_heads + group) * width);
      widen(tensor, (first + queries + 1) * width, width, to + (config_.n_heads + config_.n_kv_heads + group) * width);
    }
    return {to, in == 0 ? Shape{out} : Shape{out, in}, DType::f32};
  }

  LinearWeights query_key_value(const std::string& prefix) {
    const std::int64_t in = config_.hidden_size;
    if (names_.qkv_by_group) {
      LinearWeights weights;
      weights.weight = regrouped(prefix + names_.qkv[0] + ".weight", in);
      if (config_.qkv_bias) weights.bias = regrouped(prefix + names_.qkv[0] + ".bias", 0);
      return weights;
    }
    return stack(with(prefix, names_.qkv), {config_.query_width(), config_.kv_width(), config_.kv_width()}, in,
                 config_.qkv_bias);
  }

  static std::vector<std::string> with(const std::string& prefix, std::vector<std::string> names) {
    for (std::string& name : names) name = prefix + name;
    return names;
  }

  LayerWeights load_layer(std::int64_t number) {
    using decoder::NormPlace;
    using decoder::Parallel;
    using decoder::QkNorm;
    const std::string prefix = fmt::format(fmt::runtime(names_.layer), number);
    const std::int64_t hidden = config_.hidden_size;
    LayerWeights weights;
    weights.attention_norm = block_norm(prefix + names_.attention_norm);
    weights.qkv = query_key_value(prefix);
    if (config_.qk_norm != QkNorm::none) {
      const bool full = config_.qk_norm == QkNorm::full_rms;
      const bool bias = config_.qk_norm == QkNorm::head_layer && config_.norm.bias;
      weights.q_norm = norm(prefix + names_.q_norm, full ? config_.query_width() : config_.head_dim, bias);
      weights.k_norm = norm(prefix + names_.k_norm, full ? config_.kv_width() : config_.head_dim, bias);
    }
    const Extents slot{config_.n_kv_heads, config_.head_dim};
    if (config_.kv_bias != decoder::KvBias::none) {
      weights.bias_key = whole(stored(prefix + names_.bias_key, slot), {slot[0], slot[1]});
    }
    if (config_.kv_bias == decoder::KvBias::kv) {
      weights.bias_value = whole(stored(prefix + names_.bias_value, slot), {slot[0], slot[1]});
    }
    weights.output = stack({prefix + names_.output}, {hidden}, config_.query_width(), config_.output_bias);
    if (config_.parallel != Parallel::one_norm) weights.mlp_norm = block_norm(prefix + names_.mlp_norm);
    if (config_.place == NormPlace::sandwich) {
      weights.attention_output_norm = block_norm(prefix + names_.attention_output_norm);
      weights.mlp_output_norm = block_norm(prefix + names_.mlp_output_norm);
    }
    weights.up = stack(with(prefix, names_.up), up_rows(), hidden, config_.mlp_bias);
    weights.down = stack({prefix + names_.down}, {hidden}, config_.ffn_size, config_.mlp_bias);
    return weights;
  }

  Extents up_rows() const {
    return config_.gated ? Extents{config_.ffn_size, config_.ffn_size} : Extents{config_.ffn_size};
  }

  // Every name and shape, without a look at the numbers.
  void check_layer(std::int64_t number) {
    decoder::Room nothing;
    room_ = &nothing;
    load_layer(number);
  }

  OuterWeights load_outer() {
    OuterWeights weights;
    const std::int64_t hidden = config_.hidden_size;
    if (config_.learned_positions) {
      const std::int64_t rows = config_.max_positions + config_.position_offset;
      weights.positions = whole(stored(names_.positions + ".weight", {rows, hidden}), {rows, hidden});
    }
    if (config_.projects()) {
      weights.project_in = stack({names_.project_in}, {hidden}, config_.embedding_size, false);
      weights.project_out = stack({names_.project_out}, {config_.embedding_size}, hidden, false);
    }
    if (config_.final_norm) weights.final_norm = block_norm(names_.final_norm);
    if (config_.embedding_scale) weights.embedding_scale = vector(names_.embedding_scale, 1);
    if (config_.head_bias) {
      weights.head_bias =
          whole(files_.find(name_in_files(names_.heads, ".bias"), {config_.vocab_size}), {config_.vocab_size});
    }
    return weights;
  }

  Config config_;
  const TensorNames names_;
  const TensorFiles files_;
  std::set<std::string> used_;  // tensors that were asked for, by their names in the files
  const StoredTensor& embedding_;
  const StoredTensor* head_ = nullptr;
  decoder::Room outer_room_;
  decoder::Room layer_room_;
  decoder::Room* room_ = nullptr;  // of what is being loaded
  OuterWeights outer_;
  LayerWeights layer_;
  std::int64_t loaded_ = -1;  // the layer that is in its room
};

// What config.json describes.
Config config_of(const ConfigJson& json, const Family& family) {
  if (json.given("quantization_config")) {
    json.refuse("quantization_config", "asks for quantised weights, which are not read");
  }
  Config config = family.config(json);
  constexpr std::int64_t kWidest = std::int64_t{1} << 24;
  if (config.query_width() > kWidest || config.kv_width() > kWidest) {
    json.refuse("head_dim", fmt::format("{} in {} heads is wider than any model", config.head_dim, config.n_heads));
  }
  if (config.n_heads % config.n_kv_heads != 0) {
    json.refuse("num_key_value_heads", fmt::format("{} does not divide {} heads", config.n_kv_heads, config.n_heads));
  }
  return config;
}

}  // namespace

Config read_config(const std::filesystem::path& directory) {
  const ConfigJson json = ConfigJson::load(directory / "config.json");
  return config_of(json, family_of(json));
}

Checkpoint open_checkpoint(const std::filesystem::path& directory) {
  const ConfigJson json = ConfigJson::load(directory / "config.json");
  const Family& family = family_of(json);
  const Config config = config_of(json, family);
  auto source = std::make_unique<Source>(directory, config, family.names(config));
  const Config& found = source->config();
  return {found, std::move(source)};
}

std::vector<std::int32_t> end_tokens(const std::filesystem::path& directory) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    if (!std::filesystem::exists(directory / name)) continue;
    std::vector<std::int32_t> ids = ConfigJson::load(directory / name).ids("eos_token_id");
    if (!ids.empty()) return ids;
  }
  return {};
}

}  // namespace headroom::huggingface
