// Causal attention in tiles: what attention_tiled.h says it is for.
//
// A block has a tile of one head's queries in shared memory and walks the tiles of keys and values up to the diagonal,
// with a running maximum and sum a row: the square of scores never exists.
//
// Of B sequences of S tokens, H heads of d: 2 B H S^2 d flops (two products over half of the square) on FMA units,
// 2.6e10 for 16 x 1024 tokens of 12 heads of 64, 0.4 ms at all of an H100's 6.7e13 flop/s. Of memory it reads and
// writes q, k, v and out once; every tile of keys and values comes again from the second-level cache, B H S^2 / tile 2
// d b bytes in all. Bound by arithmetic and by shared memory.
#include "tensor/cuda/attention_tiles.h"

namespace headroom::cuda {
namespace {

using namespace tiles;

// Rows of a tile: as many as registers hold sums for.
constexpr int tile_rows(int dim) {
  return dim <= 128 ? 64 : 32;
}

// Tiles of the longest rows come first, so that short ones fill the end.
template <int kTile, int kDim, class T>
__global__ void __launch_bounds__(kThreads, 2)
    forward_kernel(const T* __restrict__ qkv, Layout layout, T* __restrict__ out, float* __restrict__ lse) {
  constexpr int kRows = kTile / kSide;
  constexpr int kQuads = kDim / (kSide * kQuad);
  float* const queries = dynamic_shared<float>();
  float* const others = queries + tile_floats(kTile, kDim);  // keys, then values
  float* const weights = others + tile_floats(kTile, kDim);
  const int tile = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = head / layout.group;
  const int batch = static_cast<int>(blockIdx.z);
  const int first_row = thread_row() * kRows;
  load_tile<kTile, kDim>(qkv + layout.query(batch, head, tile * kTile), layout.qkv_width, layout.seq - tile * kTile,
                         layout, queries);

  float sums[kRows][kQuads][kQuad] = {};
  float largest[kRows];
  float total[kRows] = {};  // this thread's columns only
#pragma unroll
  for (int i = 0; i < kRows; ++i) largest[i] = -INFINITY;
  for (int block = 0; block <= tile; ++block) {
    const int first_key = block * kTile;
    __syncthreads();  // the last values have been used
    load_tile<kTile, kDim>(qkv + layout.key(batch, kv_head, first_key), layout.qkv_width, layout.seq - first_key,
                           layout, others);
    __syncthreads();
    float scores[kRows][kRows];
    multiply<kRows, kDim>(queries, others, depth_of(layout), scores);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float top = largest[i];
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const int key = first_key + thread_column() + j * kSide;
        const bool visible = key <= tile * kTile + first_row + i;
        scores[i][j] = visible ? scores[i][j] * layout.scale : -INFINITY;
        top = fmaxf(top, scores[i][j]);
      }
      top = over_side(top, Max());
      const float keep = expf(largest[i] - top);
      largest[i] = top;
      total[i] *= keep;
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
        const float weight = expf(scores[i][j] - top);
        total[i] += weight;
        weights[(first_row + i) * stride_of(kTile) + thread_column() + j * kSide] = weight;
      }
#pragma unroll
      for (int c = 0; c < kQuads; ++c) {
#pragma unroll
        for (int n = 0; n < kQuad; ++n) sums[i][c][n] *= keep;
      }
    }
    __syncthreads();  // the keys have been used
    load_tile<kTile, kDim>(qkv + layout.value(batch, kv_head, first_key), layout.qkv_width, layout.seq - first_key,
                           layout, others);
    __syncthreads();
    accumulate<kTile, kDim>(weights, others, sums);
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int query = tile * kTile + first_row + i;
    const float sum = over_side(total[i], Sum());
    if (query >= layout.seq) continue;
    store_row(sums[i], 1.0F / sum, layout, out + layout.out(batch, head, query));
    if (thread_column() == 0) lse[layout.statistic(batch, head, query)] = largest[i] + logf(sum);
  }
}

// A tile of one head's probabilities, zeros where the tile is above the diagonal.
template <int kTile, int kDim, class T>
__global__ void __launch_bounds__(kThreads)
    probabilities_kernel(const T* __restrict__ qkv, const float* __restrict__ lse, Layout layout, int batch, int head,
                         float* __restrict__ probs) {
  constexpr int kRows = kTile / kSide;
  float* const queries = dynamic_shared<float>();
  float* const keys = queries + tile_floats(kTile, kDim);
  const int first_key = static_cast<int>(blockIdx.x) * kTile;
  const int first_query = static_cast<int>(blockIdx.y) * kTile;
  load_tile<kTile, kDim>(qkv + layout.query(batch, head, first_query), layout.qkv_width, layout.seq - first_query,
                         layout, queries);
  load_tile<kTile, kDim>(qkv + layout.key(batch, head / layout.group, first_key), layout.qkv_width,
                         layout.seq - first_key, layout, keys);
  __syncthreads();
  float scores[kRows][kRows];
  multiply<kRows, kDim>(queries, keys, depth_of(layout), scores);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int query = first_query + thread_row() * kRows + i;
    if (query >= layout.seq) continue;
    const float row_lse = lse[layout.statistic(batch, head, query)];
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      const int key = first_key + thread_column() + j * kSide;
      if (key >= layout.seq) continue;
      probs[std::int64_t{query} * layout.seq + key] = key <= query ? expf(scores[i][j] * layout.scale - row_lse) : 0.0F;
    }
  }
}

}  // namespace

void tiled_attention(const Tensor& qkv, const AttentionShape& shape, Tensor out, Tensor lse) {
  Layout layout = layout_of("attention", qkv, shape);
  expect("attention", "out", out, qkv.dtype(), shape.rows() * shape.query_width());
  expect("attention", "lse", lse, DType::f32, shape.rows() * shape.n_heads);
  layout.wide = layout.wide && aligned(out.raw());
  dispatch("attention", qkv.dtype(), [&]<class T>() {
    dispatch_dim(shape.head_dim, [&]<int kDim>() {
      constexpr int kTile = tile_rows(kDim);
      const Grid grid =
          tile_grid(shape, kTile, shape.n_heads, 2 * tile_floats(kTile, kDim) + tile_floats(kTile, kTile));
      launch("attention", forward_kernel<kTile, kDim, T>, grid, qkv.address<T>(), layout, out.address<T>(),
             lse.address<float>());
    });
  });
}

void attention_probabilities(const Tensor& qkv, const Tensor& lse, const AttentionShape& shape, std::int64_t sequence,
                             std::int64_t head, Tensor probs) {
  const Layout layout = layout_of("attention_probabilities", qkv, shape);
  expect("attention_probabilities", "lse", lse, DType::f32, shape.rows() * shape.n_heads);
  expect("attention_probabilities", "probs", probs, DType::f32, shape.seq * shape.seq);
  HEADROOM_CHECK(sequence >= 0 && sequence < shape.batch && head >= 0 && head < shape.n_heads,
                 "attention_probabilities: sequence {} of {}, head {} of {}", sequence, shape.batch, head,
                 shape.n_heads);
  dispatch("attention_probabilities", qkv.dtype(), [&]<class T>() {
    dispatch_dim(shape.head_dim, [&]<int kDim>() {
      constexpr int kTile = tile_rows(kDim);
      const unsigned tiles = extent(pieces(shape.seq, kTile));
      const Grid grid{{tiles, tiles}, kThreads, 2 * tile_floats(kTile, kDim) * sizeof(float)};
      launch("attention_probabilities", probabilities_kernel<kTile, kDim, T>, grid, qkv.address<T>(),
             lse.address<float>(), layout, static_cast<int>(sequence), static_cast<int>(head), probs.address<float>());
    });
  });
}

}  // namespace headroom::cuda
