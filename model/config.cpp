#include "model/config.h"

#include <cmath>
#include <iterator>

namespace headroom {
namespace {

void require(bool condition, const std::string& message, const std::string& hint) {
  if (!condition) throw Error(ExitCode::bad_config, message, hint);
}

void require_divides(std::int64_t value, std::string_view name, int tensor_size) {
  require(value % tensor_size == 0,
          fmt::format("{} = {} cannot be split over parallel.tensor = {} ranks", name, value, tensor_size),
          fmt::format("Choose parallel.tensor among the divisors of {}.", value));
}

}  // namespace

DytAlpha dyt_alpha_for_width(std::int64_t hidden_size) {
  // The paper's table; a width between two rows takes the nearest row on a logarithmic scale.
  struct Row {
    double width;
    DytAlpha alpha;
  };
  constexpr Row kTable[] = {{1024, {1.0, 1.0}}, {2048, {1.0, 0.5}}, {4096, {0.8, 0.2}}, {8192, {0.2, 0.05}}};
  const Row* nearest = std::begin(kTable);
  for (const Row& row : kTable) {
    const auto distance = [&](const Row& candidate) {
      return std::abs(std::log(static_cast<double>(hidden_size) / candidate.width));
    };
    if (distance(row) < distance(*nearest)) nearest = &row;
  }
  return nearest->alpha;
}

ModelConfig resolved(ModelConfig config) {
  if (config.n_kv_heads == 0) config.n_kv_heads = config.n_heads;
  if (config.head_dim == 0) {
    require(config.n_heads > 0 && config.hidden_size % config.n_heads == 0,
            fmt::format("model.hidden_size = {} does not divide into model.n_heads = {}", config.hidden_size,
                        config.n_heads),
            "Set model.head_dim, or numbers that divide.");
    config.head_dim = config.hidden_size / config.n_heads;
  }
  const DytAlpha alpha = dyt_alpha_for_width(config.hidden_size);
  if (config.dyt.alpha_attention == 0.0) config.dyt.alpha_attention = alpha.attention;
  if (config.dyt.alpha_other == 0.0) config.dyt.alpha_other = alpha.other;
  return config;
}

void validate(const ModelConfig& config, std::int64_t rows, int tensor_size) {
  require(config.vocab_size > 0, "model.vocab_size is not known",
          "Set it, or use a corpus that states its vocabulary.");
  require(config.n_heads % config.n_kv_heads == 0,
          fmt::format("model.n_heads = {} is no multiple of model.n_kv_heads = {}", config.n_heads, config.n_kv_heads),
          "Each key-value head serves the same number of query heads.");
  require(config.positions != PositionKind::rotary || config.head_dim % 2 == 0,
          fmt::format("rotary positions need an even head_dim, not {}", config.head_dim),
          "Set model.head_dim, or model.positions = \"learned\".");
  require(!(config.init.lir && config.init.scheme == InitScheme::gpt2),
          "init.lir = true and init.scheme = \"gpt2\" are two ways to scale the same weights",
          "Set init.lir = false, or init.scheme = \"plain\".");
  require_divides(config.n_heads, "model.n_heads", tensor_size);
  require_divides(config.n_kv_heads, "model.n_kv_heads", tensor_size);
  require_divides(config.ffn_size, "model.ffn_size", tensor_size);
  require_divides(rows, "tokens of a micro-batch (train.micro_batch * model.seq_len)", tensor_size);
}

}  // namespace headroom
