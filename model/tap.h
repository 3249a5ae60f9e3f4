// Looking inside a forward pass. A tap is called with views of live activations at named sites; it may read them
// during the call and must not keep them. The model knows taps, not what they do.
#pragma once

#include <cstdint>
#include <string_view>

#include "tensor/ops.h"

namespace headroom {

enum class Site : std::uint8_t {
  embedding_output,       // layer 0 only: what enters the first block
  attention_norm_output,  // the norm before attention
  attention_output,       // what attention adds to the residual stream
  mlp_norm_output,        // the norm before the feed-forward
  mlp_output,             // what the feed-forward adds to the residual stream
  block_output,           // the residual stream after the block: the h of reference section 1
  final_norm_output,      // layer 0 only
};
inline constexpr Site kSites[] = {
    Site::embedding_output, Site::attention_norm_output, Site::attention_output, Site::mlp_norm_output,
    Site::mlp_output,       Site::block_output,          Site::final_norm_output};
std::string_view name_of(Site site);

// One layer's attention on this rank. Heads [first_head, first_head + shape.n_heads) of the model.
struct AttentionView {
  const Tensor& qkv;  // rotated, normed: exactly what the scores are made of
  const Tensor& lse;
  const Tensor& bias_mass;  // [batch, n_heads, seq]; absent without a KV bias
  const AttentionShape& shape;
  std::int64_t first_head;
};

class ActivationTap {
 public:
  virtual ~ActivationTap() = default;
  // `rows` [local rows, hidden]: this tensor rank's consecutive rows of the micro-batch's [batch*seq, hidden] hidden
  // state, beginning at first_row. Rows are token-major: row = sequence * seq + position.
  virtual void hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row) = 0;
  virtual void attention(std::int64_t layer, const AttentionView& view) = 0;
  // A tap that wants no more of a site than its magnitudes says where they go; they are then a by-product of the pass,
  // and `hidden` is not called. `first_row` as there.
  virtual Magnitudes magnitudes(Site site, std::int64_t layer, std::int64_t first_row) {
    static_cast<void>(site), static_cast<void>(layer), static_cast<void>(first_row);
    return {};
  }
};

}  // namespace headroom
