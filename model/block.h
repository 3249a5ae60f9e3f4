// One decoder layer, pre-norm: h = x + attention(norm(x)); y = h + feed_forward(norm(h)).
//
// Both residual sums are made by the norm that reads them, in one pass over memory: the first within the block, the
// second by the norm that follows, the next block's or the final one. So what a block leaves is a pair, its
// feed-forward's output and the h to be added to it.
#pragma once

#include "model/attention.h"
#include "model/feed_forward.h"
#include "model/norm.h"

namespace headroom {

struct BlockActivations {
  NormStatistics attention_norm;
  Tensor attention_input;  // [R, hidden] normed rows of all tensor ranks
  AttentionActivations attention;
  Tensor middle;  // [local rows, hidden] the residual stream between the two halves
  NormStatistics mlp_norm;
  Tensor mlp_input;  // [R, hidden]
  FeedForwardActivations mlp;
};

// Shared by all layers: nothing in it survives from one layer to the next.
struct BlockScratch {
  AttentionScratch attention;
  FeedForwardScratch mlp;
  Tensor gathered;  // [R, hidden] the residual gradient of all ranks; only with several tensor ranks
  Tensor dinput;    // [R, hidden]
};

// One pass' geometry and the tables it reads.
struct PassContext {
  AttentionShape shape;  // this rank's heads
  RowShards shards;
  const RotaryTable& rotary;
};

class Block {
 public:
  Block(ParameterStore& store, const ModelConfig& config, std::int64_t layer, int tensor_rank, int tensor_size);

  AttentionShape local_shape(std::int64_t batch, std::int64_t seq) const { return attention_.local_shape(batch, seq); }
  // What `recompute` makes again lies where `shared`'s does; shared may be null.
  BlockActivations plan(Arena& arena, const AttentionShape& shape, const RowShards& shards, DType dtype,
                        Recompute recompute, const BlockActivations* shared) const;
  BlockScratch plan_scratch(Arena& arena, const AttentionShape& shape, const RowShards& shards, DType dtype) const;

  // x [local rows, hidden]: the residual stream, or, where `carried` is present, the previous block's feed-forward
  // output, to which `carried` is added. y [local rows, hidden] = this block's feed-forward output; what is to be added
  // to it is saved.middle. tap may be null.
  void forward(Tensor x, const Tensor& carried, const PassContext& pass, const BlockActivations& saved,
               const BlockScratch& scratch, ActivationTap* tap, Tensor y) const;
  // Makes again what the backward needs and `level` did not keep. x: the residual stream.
  void recompute(const Tensor& x, const PassContext& pass, Recompute level, const BlockActivations& saved,
                 const BlockScratch& scratch) const;
  // dx holds d loss / d y and becomes d loss / d x. Yields after each large product.
  void backward(const Tensor& x, const PassContext& pass, const BlockActivations& saved, const BlockScratch& scratch,
                const Yield& yield, Tensor dx) const;

  // Higher stages finish their backward first.
  static int stage_of(std::int64_t layer) { return static_cast<int>(layer) + 1; }

  const Norm& attention_norm() const { return attention_norm_; }
  const Norm& mlp_norm() const { return mlp_norm_; }

 private:
  std::int64_t layer_;
  std::int64_t hidden_;
  Norm attention_norm_;
  Attention attention_;
  Norm mlp_norm_;
  FeedForward mlp_;
};

}  // namespace headroom
