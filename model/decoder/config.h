// What a decoder-only transformer is, of any of the families that model/huggingface reads and of our own models: every
// switch that changes its forward. Only the forward: model/config.h is what we train.
//
//   x = embedding[ids] (* multiplier) (project_in) (+ positions)
//   each layer   pre          x += attention(norm x);               x += mlp(norm x)
//                post_output  x += norm(attention x);               x += norm(mlp x)
//                sandwich     x += norm(attention(norm x));         x += norm(mlp(norm x))
//                post_sum     x = norm(x + attention x);            x = norm(x + mlp x)
//                parallel     x += attention(norm x) + mlp(norm x), with one norm or two
//   (final norm) (project_out) logits = x head^T (+ bias) (soft-capped)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace headroom::decoder {

using headroom::NormKind;
using KvBias = headroom::KvBiasKind;
enum class NormPlace : std::uint8_t { pre, post_output, sandwich, post_sum };
enum class Parallel : std::uint8_t { no, one_norm, two_norms };
// Norms of queries and keys before they are rotated: none; RMS of each head; LayerNorm of each head; RMS over all
// heads.
enum class QkNorm : std::uint8_t { none, head_rms, head_layer, full_rms };
enum class Activation : std::uint8_t { silu, gelu, gelu_tanh, relu };

// How rotary angles are made. Formulas: `rope_angles` in model/decoder/rope.cpp.
enum class RopeScaling : std::uint8_t { none, linear, llama3, longrope };
struct Rope {
  double theta = 10000.0;
  std::int64_t dims = 0;  // of a head that are rotated, the first ones; the rest stays
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;
  double low_freq_factor = 1.0;     // of llama3
  double high_freq_factor = 4.0;    //
  double original_positions = 0.0;  // of llama3 and longrope
  // Of longrope: what the angles are divided by, dims/2 of them each, in sequences up to original_positions and in
  // longer ones; and what queries and keys are multiplied by when they are rotated.
  std::vector<double> short_factors, long_factors;
  double magnitude = 1.0;
};

// What differs from layer to layer.
struct LayerKind {
  std::int64_t window = 0;   // keys that a query sees, itself included; 0: all before it
  int rope = -1;             // of Config::ropes; -1: none
  double score_scale = 0.0;  // of q k^T; 0: 1 / sqrt(head_dim)
};

struct Norm {
  NormKind kind = NormKind::rms;
  double eps = 1e-5;
  bool offset = false;  // the stored weight is a difference from 1
  bool weight = true;
  bool bias = false;
};

struct Config {
  std::string family;  // as config.json names it, or "headroom"
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t n_layers = 0;
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t ffn_size = 0;
  std::int64_t max_positions = 0;  // what the model was made for; with learned positions also the most it can take

  std::int64_t embedding_size = 0;  // hidden_size unless there are projections to and from it
  double embedding_multiplier = 1.0;
  bool embedding_scale = false;  // a learned one
  bool learned_positions = false;
  std::int64_t position_offset = 0;  // row of the table that position 0 has

  Norm norm;
  NormPlace place = NormPlace::pre;
  Parallel parallel = Parallel::no;
  bool final_norm = true;

  std::vector<Rope> ropes;
  std::vector<LayerKind> layers;  // n_layers of them
  QkNorm qk_norm = QkNorm::none;
  double score_softcap = 0.0;  // 0: none
  double clip_qkv = 0.0;       // q, k and v are clamped to +-this; 0: not
  KvBias kv_bias = KvBias::none;
  bool qkv_bias = false;
  bool output_bias = false;

  Activation activation = Activation::silu;
  bool gated = true;
  bool mlp_bias = false;

  bool tied_head = false;
  bool head_bias = false;
  double logit_softcap = 0.0;

  bool projects() const { return embedding_size != hidden_size; }
  std::int64_t query_width() const { return n_heads * head_dim; }
  std::int64_t kv_width() const { return n_kv_heads * head_dim; }
};

}  // namespace headroom::decoder
