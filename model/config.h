// What a transformer is: every architectural switch. Any combination is a valid model; `validate` names the few
// settings that cannot go together.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/ops.h"

namespace headroom {

enum class NormKind : std::uint8_t { rms, layer, dyt };
enum class PositionKind : std::uint8_t { rotary, learned };
// KV bias of Sun et al.: a learned key and value per KV head; `k` is the relative with v' = 0 (Gu et al.).
enum class KvBiasKind : std::uint8_t { none, kv, k };
enum class InitScheme : std::uint8_t { plain, gpt2 };
// What the backward makes again instead of keeping it of the forward; each level includes those before it.
//   norms      normed inputs and activated values: two passes over memory
//   attention  queries, keys, values and the attention over them: one product and the attention
//   block      everything between a block's input and its output
enum class Recompute : std::uint8_t { none, norms, attention, block };

struct ModelConfig {
  std::int64_t vocab_size = 0;  // taken from the corpus when 0
  std::int64_t hidden_size = 384;
  std::int64_t n_layers = 6;
  std::int64_t n_heads = 6;
  std::int64_t n_kv_heads = 0;  // n_heads when 0
  std::int64_t head_dim = 0;    // hidden_size / n_heads when 0
  std::int64_t ffn_size = 1024;
  std::int64_t seq_len = 256;  // tokens of context

  NormKind norm = NormKind::rms;
  double norm_eps = 1e-5;
  bool norm_bias = false;  // beta of LayerNorm and DyT
  Activation activation = Activation::swiglu;
  PositionKind positions = PositionKind::rotary;
  double rope_theta = 10000.0;
  bool bias = false;       // biases of every linear layer of a block
  bool tied_head = false;  // the head shares the embedding's weight
  bool qk_norm = false;
  bool embedding_scale = false;  // a learned scalar on the embedding, initialised to sqrt(hidden_size) (DyT's recipe)

  struct {
    KvBiasKind kv_bias = KvBiasKind::none;
  } attention;

  struct {
    double alpha_attention = 0.0;  // initial alpha before attention; by width from the paper's table when 0
    double alpha_other = 0.0;      // elsewhere
  } dyt;

  struct {
    double std = 0.02;
    InitScheme scheme = InitScheme::plain;  // gpt2: o and down by std / sqrt(2 n_layers)
    bool lir = false;                       // layer l's linears by std / sqrt(l), l from 1; not with gpt2
    double kv_bias_std = 0.02;
  } init;

  // Rows of a rank's part of the vocabulary are padded to a multiple of this (model/transformer.cpp).
  std::int64_t vocab_multiple = 1;

  bool gated() const { return activation == Activation::swiglu; }
  std::int64_t query_width() const { return n_heads * head_dim; }
  std::int64_t kv_width() const { return n_kv_heads * head_dim; }
};

// Fills the numbers that follow from others (n_kv_heads, head_dim, DyT's alphas). `vocab_size` must be known.
ModelConfig resolved(ModelConfig config);

// Throws ExitCode::bad_config naming the keys and numbers for a model that cannot be built, or cannot be split over
// `tensor_size` ranks at `rows` tokens per micro-batch. Expects a resolved config.
void validate(const ModelConfig& config, std::int64_t rows, int tensor_size);

// DyT's initial alpha by width (arXiv 2503.10622, table for LLaMA): for attention's norm, and elsewhere.
struct DytAlpha {
  double attention;
  double other;
};
DytAlpha dyt_alpha_for_width(std::int64_t hidden_size);

}  // namespace headroom
