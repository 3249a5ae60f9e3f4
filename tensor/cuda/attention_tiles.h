// What attention's kernels are made of: tiles of floats in shared memory, products of tiles, rows in and out.
//
// A block is 256 threads as 16 x 16: a thread has, of a product of two tiles, a few rows and every 16th column, and of
// sums over a tile's rows a few rows and of every 64 columns four.
#pragma once

#include <cmath>
#include <string_view>

#include "tensor/cuda/attention_tiled.h"
#include "tensor/cuda/chunk.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"

namespace headroom::cuda::tiles {

inline constexpr int kSide = 16;
inline constexpr int kThreads = kSide * kSide;
inline constexpr int kQuad = 4;  // floats of a 16-byte access

// Rows of tiles in shared memory are a little longer, so that a column's numbers lie in different banks.
constexpr int stride_of(int columns) {
  return columns + kQuad;
}
constexpr int tile_floats(int rows, int columns) {
  return rows * stride_of(columns);
}

// What kernels know of the tensors' layout.
struct Layout {
  int seq;
  int n_heads;
  int group;  // query heads a key-value head
  int head_dim;
  std::int64_t query_width;
  std::int64_t kv_width;
  std::int64_t qkv_width;
  float scale;  // of scores
  bool wide;    // rows may be accessed four numbers at a time

  __device__ std::int64_t query(int batch, int head, int token) const {
    return (std::int64_t{batch} * seq + token) * qkv_width + std::int64_t{head} * head_dim;
  }
  __device__ std::int64_t key(int batch, int kv_head, int token) const {
    return query(batch, kv_head, token) + query_width;
  }
  __device__ std::int64_t value(int batch, int kv_head, int token) const {
    return key(batch, kv_head, token) + kv_width;
  }
  __device__ std::int64_t out(int batch, int head, int token) const {
    return (std::int64_t{batch} * seq + token) * query_width + std::int64_t{head} * head_dim;
  }
  // Of a statistic [batch, n_heads, seq].
  __device__ std::int64_t statistic(int batch, int head, int token) const {
    return (std::int64_t{batch} * n_heads + head) * seq + token;
  }
};

__device__ inline int thread_row() {
  return static_cast<int>(threadIdx.x) / kSide;
}
__device__ inline int thread_column() {
  return static_cast<int>(threadIdx.x) % kSide;
}

// `rows` rows of head_dim numbers, `stride` apart, into a tile of floats; zeros where there are none.
template <int kTile, int kDim, class T>
__device__ void load_tile(const T* from, std::int64_t stride, int rows, const Layout& layout, float* tile) {
  constexpr int kStride = stride_of(kDim);
  if (layout.wide) {
    constexpr int kQuads = kDim / kQuad;
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kQuads; i += kThreads) {
      const int row = i / kQuads;
      const int column = i % kQuads * kQuad;
      float values[kQuad] = {};
      if (row < rows && column < layout.head_dim) load_floats(from + row * stride + column, values);
      store_floats(values, tile + row * kStride + column);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kDim; i += kThreads) {
      const int row = i / kDim;
      const int column = i % kDim;
      const bool there = row < rows && column < layout.head_dim;
      tile[row * kStride + column] = there ? static_cast<float>(from[row * stride + column]) : 0.0F;
    }
  }
}

// A thread's part of a b^T, both tiles: rows thread_row() * kRows + i of a, rows thread_column() + kSide * j of b.
template <int kRows, int kDim>
__device__ void multiply(const float* a, const float* b, int depth, float (&product)[kRows][kRows]) {
  constexpr int kStride = stride_of(kDim);
  const float* const left = a + thread_row() * kRows * kStride;
  const float* const right = b + thread_column() * kStride;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kRows; ++j) product[i][j] = 0.0F;
  }
  [[maybe_unused]] constexpr int kUnroll = kRows < 4 ? 2 : 1;  // as far as registers go
#pragma unroll kUnroll
  for (int k = 0; k < depth; k += kQuad) {
    float x[kRows][kQuad];
    float y[kRows][kQuad];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      load_floats(left + i * kStride + k, x[i]);
      load_floats(right + i * kSide * kStride + k, y[i]);
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kRows; ++j) {
#pragma unroll
        for (int n = 0; n < kQuad; ++n) product[i][j] += x[i][n] * y[j][n];
      }
    }
  }
}

// A thread's part of sums += weights tile, weights [kTile, kTile]: rows thread_row() * kRows + i, and of every 64
// columns the four from thread_column() * 4 on.
template <int kTile, int kDim>
__device__ void accumulate(const float* weights, const float* tile,
                           float (&sums)[kTile / kSide][kDim / (kSide * kQuad)][kQuad]) {
  constexpr int kRows = kTile / kSide;
  constexpr int kQuads = kDim / (kSide * kQuad);
  const float* const left = weights + thread_row() * kRows * stride_of(kTile);
  const float* const right = tile + thread_column() * kQuad;
#pragma unroll 2
  for (int r = 0; r < kTile; r += kQuad) {
    float weight[kRows][kQuad];
#pragma unroll
    for (int i = 0; i < kRows; ++i) load_floats(left + i * stride_of(kTile) + r, weight[i]);
#pragma unroll
    for (int m = 0; m < kQuad; ++m) {
#pragma unroll
      for (int c = 0; c < kQuads; ++c) {
        float x[kQuad];
        load_floats(right + (r + m) * stride_of(kDim) + c * kSide * kQuad, x);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
          for (int n = 0; n < kQuad; ++n) sums[i][c][n] += weight[i][m] * x[n];
        }
      }
    }
  }
}

// One row of accumulate()'s sums, times `factor`, to row `to` of head_dim numbers.
template <int kQuads, class T>
__device__ void store_row(const float (&sums)[kQuads][kQuad], float factor, const Layout& layout, T* to) {
#pragma unroll
  for (int c = 0; c < kQuads; ++c) {
    const int column = c * kSide * kQuad + thread_column() * kQuad;
    float scaled[kQuad];
#pragma unroll
    for (int n = 0; n < kQuad; ++n) scaled[n] = sums[c][n] * factor;
    if (layout.wide) {
      if (column < layout.head_dim) store_floats(scaled, to + column);
    } else {
#pragma unroll
      for (int n = 0; n < kQuad; ++n) {
        if (column + n < layout.head_dim) to[column + n] = static_cast<T>(scaled[n]);
      }
    }
  }
}

// Over the threads of one thread_row(): half a warp.
template <class Combine>
__device__ inline float over_side(float value, Combine combine) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

// Columns of products that count: head_dim, rounded up to whole accesses (tiles are zero behind head_dim).
__device__ inline int depth_of(const Layout& layout) {
  return (layout.head_dim + kQuad - 1) / kQuad * kQuad;
}

inline Layout layout_of(std::string_view op, const Tensor& qkv, const AttentionShape& shape) {
  HEADROOM_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0,
                 "{}: {} query heads do not divide into {} key-value heads", op, shape.n_heads, shape.n_kv_heads);
  HEADROOM_CHECK(shape.head_dim > 0 && shape.head_dim <= kLargestTiledHead, "{}: head_dim {}, at most {}", op,
                 shape.head_dim, kLargestTiledHead);
  HEADROOM_CHECK(shape.seq <= 1 << 30, "{}: sequences of {}", op, shape.seq);
  expect(op, "qkv", qkv, qkv.dtype(), shape.rows() * shape.qkv_width());
  return {static_cast<int>(shape.seq),
          static_cast<int>(shape.n_heads),
          static_cast<int>(shape.n_heads / shape.n_kv_heads),
          static_cast<int>(shape.head_dim),
          shape.query_width(),
          shape.kv_width(),
          shape.qkv_width(),
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim))),
          shape.head_dim % kQuad == 0 && aligned(qkv.raw())};
}

// Calls kernel.template operator()<D>() with the smallest of the compiled widths that holds a head.
template <class Kernel>
void dispatch_dim(std::int64_t head_dim, Kernel&& kernel) {
  if (head_dim <= 64) return kernel.template operator()<64>();
  if (head_dim <= 128) return kernel.template operator()<128>();
  return kernel.template operator()<256>();
}

inline Grid tile_grid(const AttentionShape& shape, int tile, std::int64_t heads, std::size_t floats) {
  return {{extent(pieces(shape.seq, tile)), extent(heads), extent(shape.batch)}, kThreads, floats * sizeof(float)};
}

}  // namespace headroom::cuda::tiles
