// The GPU's implementations, a file a family, as the CPU's (tensor/cpu/table.h): each file fills its own entries.
#pragma once

#include "tensor/ops.h"

namespace headroom::cuda {

void fill_elementwise(OpTable& table);    // elementwise.cu: add, copy, zero, add_bias, bias_backward, scale_by
void fill_linear(OpTable& table);         // linear.cpp: matmul, linear and the fused GELUs (cuBLASLt)
void fill_rms_norm(OpTable& table);       // rms_norm.cu
void fill_layer_norm(OpTable& table);     // layer_norm.cu
void fill_dyt(OpTable& table);            // dyt.cu
void fill_qk_norm(OpTable& table);        // qk_norm.cu
void fill_rotary(OpTable& table);         // rotary.cu
void fill_attention(OpTable& table);      // attention.cpp: cuDNN's where it serves, else attention_tiled.cu
void fill_kv_bias(OpTable& table);        // kv_bias.cu
void fill_feed_forward(OpTable& table);   // feed_forward.cu: SwiGLU, GELU, ReLU
void fill_embedding(OpTable& table);      // embedding.cu
void fill_cross_entropy(OpTable& table);  // cross_entropy.cu
void fill_adamw(OpTable& table);          // adamw.cu
void fill_piece_sums(OpTable& table);     // piece_sums.cu: global norm, TVR's moments, whole sums
void fill_tvr(OpTable& table);            // tvr.cu: factors and rescaling
void fill_magnitudes(OpTable& table);     // magnitudes.cu: the monitor's summaries

// The complete table, made once.
const OpTable& op_table();

}  // namespace headroom::cuda
