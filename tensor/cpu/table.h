// The CPU's implementations, a file a family. Each file fills its own entries of the table, so that adding an op is
// one declaration (tensor/ops.h), one function and one line in the family's file.
#pragma once

#include "tensor/ops.h"

namespace headroom::cpu {

void fill_dense(OpTable& table);
void fill_norm(OpTable& table);
void fill_dyt(OpTable& table);
void fill_qk_norm(OpTable& table);
void fill_rotary(OpTable& table);
void fill_attention(OpTable& table);
void fill_kv_bias(OpTable& table);
void fill_feed_forward(OpTable& table);
void fill_embedding(OpTable& table);
void fill_cross_entropy(OpTable& table);
void fill_optimizer(OpTable& table);
void fill_statistics(OpTable& table);
void fill_fused(OpTable& table);

// The complete table, made once.
const OpTable& op_table();

}  // namespace headroom::cpu
