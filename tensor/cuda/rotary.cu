// Rotary position embedding of the queries and keys inside a fused tensor, in place; values are left alone.
//
// Of R tokens, H query and K key heads of d numbers of b bytes: reads and writes 2 R (H + K) d b bytes in all (tables
// of angles stay in the second-level cache), 3 R (H + K) d flops: bound by memory. A thread holds its angles for four
// heads.
#include "tensor/cuda/chunk.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kHeadsPerThread = 4;

// What of the fused tensor is rotated, and how a block's threads are laid over it.
struct Rotation {
  unsigned rows;
  unsigned seq;
  unsigned width;    // of a row
  unsigned rotated;  // heads: queries, then keys
  unsigned half;     // numbers of half a head
  unsigned rows_per_block;
  float direction;  // 1, or -1 to rotate back
};

// An item is a chunk of half a head in kHeadsPerThread heads of a row, as far apart as threads can share accesses to
// neighbouring heads.
template <class T, int kWide>
__global__ void __launch_bounds__(kThreads)
    rotary_kernel(const float* __restrict__ cosines, const float* __restrict__ sines, Rotation all,
                  T* __restrict__ qkv) {
  const unsigned lanes = all.half / kWide;
  const unsigned groups = (all.rotated + kHeadsPerThread - 1) / kHeadsPerThread;
  for (unsigned item = threadIdx.x; item < all.rows_per_block * groups * lanes; item += kThreads) {
    const unsigned lane = item % lanes;
    const unsigned group = item / lanes % groups;
    const unsigned row = blockIdx.x * all.rows_per_block + item / lanes / groups;
    if (row >= all.rows) break;
    T* const line = qkv + std::int64_t{row} * all.width + lane * kWide;

    Chunk<T, kWide> first[kHeadsPerThread];
    Chunk<T, kWide> second[kHeadsPerThread];
#pragma unroll
    for (unsigned i = 0; i < kHeadsPerThread; ++i) {
      const unsigned head = min(group + i * groups, all.rotated - 1);  // loads depend on nothing
      first[i] = load_chunk<kWide>(line + head * 2 * all.half);
      second[i] = load_chunk<kWide>(line + head * 2 * all.half + all.half);
    }
    float cosine[kWide];
    float sine[kWide];
    const std::int64_t angle = std::int64_t{row % all.seq} * all.half + lane * kWide;
    load_floats(cosines + angle, cosine);
    load_floats(sines + angle, sine);
#pragma unroll
    for (unsigned i = 0; i < kHeadsPerThread; ++i) {
      const unsigned head = group + i * groups;
      if (head >= all.rotated) continue;
      float x1[kWide];
      float x2[kWide];
#pragma unroll
      for (int n = 0; n < kWide; ++n) {
        const float a = static_cast<float>(first[i].at[n]);
        const float b = static_cast<float>(second[i].at[n]);
        const float s = all.direction * sine[n];
        x1[n] = a * cosine[n] - b * s;
        x2[n] = b * cosine[n] + a * s;
      }
      store_floats(x1, line + head * 2 * all.half);
      store_floats(x2, line + head * 2 * all.half + all.half);
    }
  }
}

void rotary(const Tensor& cos, const Tensor& sin, const AttentionShape& shape, bool inverse, Tensor qkv) {
  const std::int64_t half = shape.head_dim / 2;
  expect("rotary", "qkv", qkv, qkv.dtype(), shape.rows() * shape.qkv_width());
  HEADROOM_CHECK(shape.head_dim % 2 == 0, "rotary: head_dim {} is odd", shape.head_dim);
  HEADROOM_CHECK(shape.rows() <= 0xffffffff && shape.qkv_width() <= 0xffffffff, "rotary: {} rows of {}", shape.rows(),
                 shape.qkv_width());
  expect("rotary", "cos", cos, DType::f32, cos.rows() * half);
  expect("rotary", "sin", sin, DType::f32, sin.rows() * half);
  HEADROOM_CHECK(cos.rows() >= shape.seq && sin.rows() >= shape.seq,
                 "rotary: tables {} and {} for {} positions of {} angles", cos.shape().text(), sin.shape().text(),
                 shape.seq, half);
  if (shape.rows() == 0 || half == 0) return;
  dispatch("rotary", qkv.dtype(), [&]<class T>() {
    const bool wide = half % Pack<T>::kSize == 0 && aligned(qkv.raw()) && aligned(cos.raw()) && aligned(sin.raw());
    dispatch_width<T>(wide, [&]<int kWide>() {
      Rotation all{};
      all.rows = static_cast<unsigned>(shape.rows());
      all.seq = static_cast<unsigned>(shape.seq);
      all.width = static_cast<unsigned>(shape.qkv_width());
      all.rotated = static_cast<unsigned>(shape.n_heads + shape.n_kv_heads);
      all.half = static_cast<unsigned>(half);
      const unsigned items_a_row = (all.rotated + kHeadsPerThread - 1) / kHeadsPerThread * (all.half / kWide);
      all.rows_per_block = items_a_row < kThreads ? kThreads / items_a_row : 1;
      all.direction = inverse ? -1.0F : 1.0F;
      const Grid grid{extent(pieces(all.rows, all.rows_per_block)), kThreads};
      launch("rotary", rotary_kernel<T, kWide>, grid, cos.address<float>(), sin.address<float>(), all,
             qkv.address<T>());
    });
  });
}

}  // namespace

void fill_rotary(OpTable& table) {
  table.rotary = rotary;
}

}  // namespace headroom::cuda
