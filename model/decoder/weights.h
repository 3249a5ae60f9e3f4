// A decoder's weights as its forward wants them, f32, and where they come from. A source hands out one layer at a time,
// so that a model larger than the memory can be run: what it maps from a file in this very form is used where it lies,
// the rest is converted into memory that the next layer takes over.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace headroom::decoder {

// Of RMSNorm and LayerNorm; weight and bias may be absent. DyT has its alpha [1].
struct NormWeights {
  Tensor weight;  // [d]
  Tensor bias;    // [d]
  Tensor alpha;   // [1]
};

// A product's weight: y = x w^T + bias with w [out, in], or, where `transposed`, y = x w + bias with w [in, out].
struct LinearWeights {
  Tensor weight;
  Tensor bias;  // [out], may be absent
  bool transposed = false;
};

struct LayerWeights {
  NormWeights attention_norm;         // before attention, or what there is behind it (post_output, post_sum)
  NormWeights attention_output_norm;  // sandwich only
  LinearWeights qkv;                  // rows: all queries, all keys, all values
  NormWeights q_norm, k_norm;
  Tensor bias_key, bias_value;  // [n_kv_heads, head_dim], of a KV bias
  LinearWeights output;
  NormWeights mlp_norm;
  NormWeights mlp_output_norm;
  LinearWeights up;  // where gated, rows: gate, then up
  LinearWeights down;
};

// What is not in a layer.
struct OuterWeights {
  Tensor positions;        // [rows, d]
  Tensor embedding_scale;  // [1]
  LinearWeights project_in, project_out;
  NormWeights final_norm;
  Tensor head_bias;  // [V]
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // Valid as long as the source.
  virtual const OuterWeights& outer() = 0;
  // Rows of the embedding's table into y [ids, embedding_size].
  virtual void embed(std::span<const std::int32_t> ids, Tensor y) = 0;
  // Valid until the next call.
  virtual const LayerWeights& layer(std::int64_t number) = 0;
  // Rows [first, first + count) of the head, [count, embedding_size]. Valid until the next call of `head` or `layer`.
  virtual Tensor head(std::int64_t first, std::int64_t count) = 0;
  // Whether a tensor that it gave stays where it is as long as the source, with its numbers: what it maps from a file.
  virtual bool stays(const Tensor&) const { return false; }
};

}  // namespace headroom::decoder
