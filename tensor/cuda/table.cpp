#include "tensor/cuda/table.h"

namespace headroom::cuda {

const OpTable& op_table() {
  static const OpTable table = [] {
    OpTable made{};
    fill_elementwise(made);
    fill_linear(made);
    fill_rms_norm(made);
    fill_layer_norm(made);
    fill_dyt(made);
    fill_qk_norm(made);
    fill_rotary(made);
    fill_attention(made);
    fill_kv_bias(made);
    fill_feed_forward(made);
    fill_embedding(made);
    fill_cross_entropy(made);
    fill_adamw(made);
    fill_piece_sums(made);
    fill_tvr(made);
    fill_magnitudes(made);
    return made;
  }();
  return table;
}

}  // namespace headroom::cuda
