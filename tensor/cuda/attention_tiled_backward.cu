// Gradients of causal attention in tiles, the probabilities made again from the log-sum-exp.
//
// Twice: blocks of one pass own a tile of keys and sum over the queries that see them, and over the query heads of the
// group in order; blocks of the other own queries. So no number is added to from two places, and sums have one order.
//
// Of B sequences of S tokens, H heads of d: 7 B H S^2 d flops (four and three products over half of the square) on FMA
// units, 9.0e10 for 16 x 1024 tokens of 12 heads of 64, 1.4 ms at all of an H100's 6.7e13 flop/s. Bytes as in the
// forward (attention_tiled.cu), three times. Bound by arithmetic and by shared memory.
#include "tensor/cuda/attention_tiles.h"

namespace headroom::cuda {
namespace {

using namespace tiles;

// Rows of a tile: as many as shared memory holds four tiles of, and registers two tiles' sums.
constexpr int tile_rows(int dim) {
  return dim <= 64 ? 64 : 32;
}

// delta [batch, n_heads, seq] = rowsum(dout * out) of each head: a warp each.
template <class T>
__global__ void __launch_bounds__(kThreads) delta_kernel(const T* __restrict__ dout, const T* __restrict__ out,
                                                         Layout layout, std::int64_t heads, float* __restrict__ delta) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t head = std::int64_t{blockIdx.x} * (kThreads / kWarp) + threadIdx.x / kWarp;  // of all rows
  float sum = 0.0F;
  for (int i = lane; head < heads && i < layout.head_dim; i += kWarp) {
    const std::int64_t at = head * layout.head_dim + i;
    sum += static_cast<float>(dout[at]) * static_cast<float>(out[at]);
  }
  sum = over_warp(sum, Sum());
  if (head >= heads || lane != 0) return;
  const std::int64_t row = head / layout.n_heads;
  delta[layout.statistic(static_cast<int>(row / layout.seq), static_cast<int>(head % layout.n_heads),
                         static_cast<int>(row % layout.seq))] = sum;
}

// A score's probability and the gradient of the scaled score.
struct ScoreGradient {
  float probability;
  float dscore;
};
__device__ ScoreGradient score_gradient(bool visible, float scaled, float dprobability, float lse, float delta) {
  if (!visible) return {0.0F, 0.0F};
  const float probability = expf(scaled - lse);
  return {probability, probability * (dprobability - delta)};
}

// Gradients of a tile of keys and values.
template <int kTile, int kDim, class T>
__global__ void __launch_bounds__(kThreads, kDim <= 128 ? 2 : 1)
    keys_backward_kernel(const T* __restrict__ dout, const T* __restrict__ qkv, const float* __restrict__ lse,
                         const float* __restrict__ delta, Layout layout, T* __restrict__ dqkv) {
  constexpr int kRows = kTile / kSide;
  constexpr int kQuads = kDim / (kSide * kQuad);
  float* const keys = dynamic_shared<float>();
  float* const values = keys + tile_floats(kTile, kDim);
  float* const queries = values + tile_floats(kTile, kDim);
  float* const douts = queries + tile_floats(kTile, kDim);
  float* const weights = douts + tile_floats(kTile, kDim);  // [key, query]
  float* const dscores = weights + tile_floats(kTile, kTile);
  const int tiles = static_cast<int>(gridDim.x);
  const int kv_head = static_cast<int>(blockIdx.y);
  const int batch = static_cast<int>(blockIdx.z);
  const int first_key = static_cast<int>(blockIdx.x) * kTile;
  const int first_row = thread_row() * kRows;
  load_tile<kTile, kDim>(qkv + layout.key(batch, kv_head, first_key), layout.qkv_width, layout.seq - first_key, layout,
                         keys);
  load_tile<kTile, kDim>(qkv + layout.value(batch, kv_head, first_key), layout.qkv_width, layout.seq - first_key,
                         layout, values);

  float dkeys[kRows][kQuads][kQuad] = {};
  float dvalues[kRows][kQuads][kQuad] = {};
  for (int head = kv_head * layout.group; head < (kv_head + 1) * layout.group; ++head) {
    for (int block = static_cast<int>(blockIdx.x); block < tiles; ++block) {
      const int first_query = block * kTile;
      __syncthreads();  // the last queries have been used
      load_tile<kTile, kDim>(qkv + layout.query(batch, head, first_query), layout.qkv_width, layout.seq - first_query,
                             layout, queries);
      load_tile<kTile, kDim>(dout + layout.out(batch, head, first_query), layout.query_width, layout.seq - first_query,
                             layout, douts);
      __syncthreads();
      float scores[kRows][kRows];
      float dprobs[kRows][kRows];
      multiply<kRows, kDim>(keys, queries, depth_of(layout), scores);
      multiply<kRows, kDim>(values, douts, depth_of(layout), dprobs);
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const int query = first_query + thread_column() + j * kSide;
        const bool there = query < layout.seq;
        const std::int64_t statistic = layout.statistic(batch, head, query);
        const float query_lse = there ? lse[statistic] : 0.0F;
        const float query_delta = there ? delta[statistic] : 0.0F;
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          const bool visible = there && first_key + first_row + i <= query;
          const auto [probability, dscore] =
              score_gradient(visible, scores[i][j] * layout.scale, dprobs[i][j], query_lse, query_delta);
          const int at = (first_row + i) * stride_of(kTile) + thread_column() + j * kSide;
          weights[at] = probability;
          dscores[at] = dscore;
        }
      }
      __syncwarp();  // a row's weights are its half warp's own
      accumulate<kTile, kDim>(weights, douts, dvalues);
      accumulate<kTile, kDim>(dscores, queries, dkeys);
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int key = first_key + first_row + i;
    if (key >= layout.seq) continue;
    store_row(dkeys[i], layout.scale, layout, dqkv + layout.key(batch, kv_head, key));
    store_row(dvalues[i], 1.0F, layout, dqkv + layout.value(batch, kv_head, key));
  }
}

// Gradients of a tile of queries.
template <int kTile, int kDim, class T>
__global__ void __launch_bounds__(kThreads, kDim <= 128 ? 2 : 1)
    queries_backward_kernel(const T* __restrict__ dout, const T* __restrict__ qkv, const float* __restrict__ lse,
                            const float* __restrict__ delta, Layout layout, T* __restrict__ dqkv) {
  constexpr int kRows = kTile / kSide;
  constexpr int kQuads = kDim / (kSide * kQuad);
  float* const queries = dynamic_shared<float>();
  float* const douts = queries + tile_floats(kTile, kDim);
  float* const keys = douts + tile_floats(kTile, kDim);
  float* const values = keys + tile_floats(kTile, kDim);
  float* const dscores = values + tile_floats(kTile, kDim);  // [query, key]
  const int tile = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = head / layout.group;
  const int batch = static_cast<int>(blockIdx.z);
  const int first_query = tile * kTile;
  const int first_row = thread_row() * kRows;
  load_tile<kTile, kDim>(qkv + layout.query(batch, head, first_query), layout.qkv_width, layout.seq - first_query,
                         layout, queries);
  load_tile<kTile, kDim>(dout + layout.out(batch, head, first_query), layout.query_width, layout.seq - first_query,
                         layout, douts);
  float row_lse[kRows];
  float row_delta[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const bool there = first_query + first_row + i < layout.seq;
    const std::int64_t statistic = layout.statistic(batch, head, first_query + first_row + i);
    row_lse[i] = there ? lse[statistic] : 0.0F;
    row_delta[i] = there ? delta[statistic] : 0.0F;
  }

  float dqueries[kRows][kQuads][kQuad] = {};
  for (int block = 0; block <= tile; ++block) {
    const int first_key = block * kTile;
    __syncthreads();  // the last keys have been used
    load_tile<kTile, kDim>(qkv + layout.key(batch, kv_head, first_key), layout.qkv_width, layout.seq - first_key,
                           layout, keys);
    load_tile<kTile, kDim>(qkv + layout.value(batch, kv_head, first_key), layout.qkv_width, layout.seq - first_key,
                           layout, values);
    __syncthreads();
    float scores[kRows][kRows];
    float dprobs[kRows][kRows];
    multiply<kRows, kDim>(queries, keys, depth_of(layout), scores);
    multiply<kRows, kDim>(douts, values, depth_of(layout), dprobs);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int query = first_query + first_row + i;
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const bool visible = query < layout.seq && first_key + thread_column() + j * kSide <= query;
        dscores[(first_row + i) * stride_of(kTile) + thread_column() + j * kSide] =
            score_gradient(visible, scores[i][j] * layout.scale, dprobs[i][j], row_lse[i], row_delta[i]).dscore;
      }
    }
    __syncwarp();  // a row's weights are its half warp's own
    accumulate<kTile, kDim>(dscores, keys, dqueries);
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int query = first_query + first_row + i;
    if (query < layout.seq) store_row(dqueries[i], layout.scale, layout, dqkv + layout.query(batch, head, query));
  }
}

}  // namespace

void tiled_attention_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                              const AttentionShape& shape, Tensor dqkv) {
  Layout layout = layout_of("attention_backward", qkv, shape);
  const std::int64_t heads = shape.rows() * shape.n_heads;
  expect("attention_backward", "dout", dout, qkv.dtype(), heads * shape.head_dim);
  expect("attention_backward", "out", out, qkv.dtype(), heads * shape.head_dim);
  expect("attention_backward", "lse", lse, DType::f32, heads);
  expect("attention_backward", "dqkv", dqkv, qkv.dtype(), qkv.elements());
  layout.wide = layout.wide && aligned(dout.raw()) && aligned(dqkv.raw());
  if (heads == 0) return;
  Scratch scratch;
  float* const delta = scratch.take<float>(heads);
  dispatch("attention_backward", qkv.dtype(), [&]<class T>() {
    const Grid rows{extent(pieces(heads, kThreads / kWarp)), kThreads};
    launch("attention_backward: delta", delta_kernel<T>, rows, dout.address<T>(), out.address<T>(), layout, heads,
           delta);
    dispatch_dim(shape.head_dim, [&]<int kDim>() {
      constexpr int kTile = tile_rows(kDim);
      constexpr int kFloats = 4 * tile_floats(kTile, kDim) + tile_floats(kTile, kTile);
      launch("attention_backward: keys", keys_backward_kernel<kTile, kDim, T>,
             tile_grid(shape, kTile, shape.n_kv_heads, kFloats + tile_floats(kTile, kTile)), dout.address<T>(),
             qkv.address<T>(), lse.address<float>(), delta, layout, dqkv.address<T>());
      launch("attention_backward: queries", queries_backward_kernel<kTile, kDim, T>,
             tile_grid(shape, kTile, shape.n_heads, kFloats), dout.address<T>(), qkv.address<T>(), lse.address<float>(),
             delta, layout, dqkv.address<T>());
    });
  });
}

}  // namespace headroom::cuda
