#include "tensor/cpu/table.h"

namespace headroom::cpu {

const OpTable& op_table() {
  static const OpTable table = [] {
    OpTable filled{};
    fill_dense(filled);
    fill_norm(filled);
    fill_dyt(filled);
    fill_qk_norm(filled);
    fill_rotary(filled);
    fill_attention(filled);
    fill_kv_bias(filled);
    fill_feed_forward(filled);
    fill_embedding(filled);
    fill_cross_entropy(filled);
    fill_optimizer(filled);
    fill_statistics(filled);
    fill_fused(filled);
    return filled;
  }();
  return table;
}

}  // namespace headroom::cpu
