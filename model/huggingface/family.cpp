#include "model/huggingface/family.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace headroom::huggingface {
namespace {

// LongRoPE (Ding et al. 2024, arXiv:2402.13753) as Phi-3 has it.
void read_longrope(const ConfigJson& table, const ConfigJson& top, decoder::Rope& rope) {
  rope.scaling = decoder::RopeScaling::longrope;
  rope.original_positions = static_cast<double>(top.positive("original_max_position_embeddings", 4096));
  const auto factors = [&](const char* key) {
    std::vector<double> all = table.positive_reals(key);
    if (std::ssize(all) != rope.dims / 2) {
      table.refuse(key, fmt::format("has {} numbers for {} pairs of rotated dims", all.size(), rope.dims / 2));
    }
    return all;
  };
  rope.short_factors = factors("short_factor");
  rope.long_factors = factors("long_factor");
  const double times = static_cast<double>(top.positive("max_position_embeddings", 4096)) / rope.original_positions;
  rope.factor = table.positive_real("factor", times);
  const double grown = 1.0 + std::log(std::max(rope.factor, 1.0)) / std::log(std::max(rope.original_positions, 2.0));
  rope.magnitude = table.positive_real("attention_factor", std::sqrt(grown));
}

constexpr const std::vector<Family>* kAll[] = {&kLlamaFamilies, &kGemmaFamilies, &kGptFamilies, &kOwnFamilies};

}  // namespace

decoder::Rope rope_of_table(const ConfigJson& table, const ConfigJson& top, std::int64_t head_dim, double theta,
                            double partial, const RopeKeys& reads) {
  decoder::Rope rope;
  rope.theta = table.positive_real("rope_theta", top.positive_real("rope_theta", theta));
  const std::string type = table.text("rope_type", table.text("type", "default"));
  const bool scaled = type != "default";
  const double share = table.real("partial_rotary_factor", top.real("partial_rotary_factor", partial));
  rope.dims = reads.partial || scaled ? static_cast<std::int64_t>(static_cast<double>(head_dim) * share) : head_dim;
  if (rope.dims < 2 || rope.dims > head_dim || rope.dims % 2 != 0) {
    top.refuse("partial_rotary_factor",
               fmt::format("leaves {} dims of a head of {} to rotate: an even number is wanted", rope.dims, head_dim));
  }
  if (!scaled) return rope;
  const auto required = [&](const char* key) {
    if (!table.given(key)) table.refuse(key, "is missing");
    return table.positive_real(key, 0.0);
  };
  if (type == "linear") {
    rope.scaling = decoder::RopeScaling::linear;
    rope.factor = required("factor");
  } else if (type == "llama3") {
    rope.scaling = decoder::RopeScaling::llama3;
    rope.factor = required("factor");
    rope.low_freq_factor = required("low_freq_factor");
    rope.high_freq_factor = required("high_freq_factor");
    rope.original_positions =
        table.positive_real("original_max_position_embeddings", top.positive_real("max_position_embeddings", 8192.0));
    if (!(rope.high_freq_factor > rope.low_freq_factor)) {
      table.refuse("high_freq_factor", "wants a number above low_freq_factor");
    }
  } else if (reads.longrope && type == "longrope") {
    read_longrope(table, top, rope);
  } else {
    table.refuse("rope_type", fmt::format("'{}' is not supported", type),
                 "default, linear and llama3 are, and phi3's longrope.");
  }
  return rope;
}

decoder::Activation activation_of(const ConfigJson& json, const std::string& key, const std::string& otherwise) {
  static const std::map<std::string, decoder::Activation> known = {
      {"silu", decoder::Activation::silu},
      {"swish", decoder::Activation::silu},
      {"gelu", decoder::Activation::gelu},
      {"gelu_python", decoder::Activation::gelu},
      {"gelu_new", decoder::Activation::gelu_tanh},
      {"gelu_pytorch_tanh", decoder::Activation::gelu_tanh},
      {"gelu_fast", decoder::Activation::gelu_tanh},
      {"gelu_accurate", decoder::Activation::gelu_tanh},
      {"relu", decoder::Activation::relu}};
  const std::string name = json.text(key, otherwise);
  const auto found = known.find(name);
  if (found == known.end()) json.refuse(key, fmt::format("'{}' is not supported", name));
  return found->second;
}

decoder::Rope rope_of(const ConfigJson& json, std::int64_t head_dim, double theta, double partial,
                      const RopeKeys& reads) {
  // transformers' own order: rope_scaling where it has something, else rope_parameters.
  const auto scaling = json.table("rope_scaling");
  const auto parameters = json.table("rope_parameters");
  const ConfigJson& table = scaling ? *scaling : parameters ? *parameters : json;
  return rope_of_table(scaling || parameters ? table : ConfigJson(nlohmann::json::object(), json.file()), json,
                       head_dim, theta, partial, reads);
}

std::int64_t layer_count(const ConfigJson& json, const std::string& key, std::int64_t otherwise) {
  constexpr std::int64_t kMost = 4096;
  const std::int64_t count = json.positive(key, otherwise);
  if (count > kMost) json.refuse(key, fmt::format("{} are more than any model has", count));
  return count;
}

std::optional<std::vector<bool>> sliding_by_type(const ConfigJson& json, std::int64_t layers) {
  if (!json.given("layer_types")) return {};
  const std::vector<std::string> types = json.texts("layer_types");
  if (static_cast<std::int64_t>(types.size()) != layers) {
    json.refuse("layer_types", fmt::format("has {} entries for {} layers", types.size(), layers));
  }
  std::vector<bool> slides;
  for (const std::string& type : types) {
    slides.push_back(type == "sliding_attention");
    if (!slides.back() && type != "full_attention") {
      json.refuse("layer_types", fmt::format("'{}' is not supported", type));
    }
  }
  return slides;
}

std::vector<decoder::LayerKind> same_layers(std::int64_t count, std::int64_t window) {
  return std::vector<decoder::LayerKind>(static_cast<std::size_t>(count), decoder::LayerKind{window, 0, 0.0});
}

const Family* find_family(std::string_view model_type) {
  for (const auto* families : kAll) {
    for (const Family& family : *families) {
      if (model_type == family.model_type) return &family;
    }
  }
  return nullptr;
}

const Family& family_of(const ConfigJson& json) {
  const std::string type = json.text("model_type", "");
  if (const Family* family = find_family(type)) return *family;
  std::vector<std::string> known;
  for (const auto* families : kAll) {
    for (const Family& family : *families) known.emplace_back(family.model_type);
  }
  json.refuse("model_type", type.empty() ? "is missing" : fmt::format("'{}' is not supported", type),
              fmt::format("Supported are {}.", fmt::join(known, ", ")));
}

}  // namespace headroom::huggingface
