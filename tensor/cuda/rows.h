// How threads share out a row of numbers: 16 bytes an access where the rows are aligned, and kept in registers between
// the pass that reads them and the pass that needs them again where the row is short enough.
#pragma once

#include "tensor/cuda/chunk.h"

namespace headroom::cuda {

// A chunk that stays in registers.
template <class T, int kWidth>
struct Piece {
  Chunk<T, kWidth> chunk;

  __device__ float get(int i) const { return static_cast<float>(chunk.at[i]); }
  __device__ void set(int i, T value) { chunk.at[i] = value; }
};
// bf16 in pairs: alone, each would take a register of its own.
template <int kWidth>
requires(kWidth % 2 == 0) struct Piece<bf16, kWidth> {
  std::uint32_t pairs[kWidth / 2];

  __device__ float get(int i) const {
    return __uint_as_float(i % 2 == 0 ? pairs[i / 2] << 16 : pairs[i / 2] & 0xffff0000U);
  }
  __device__ void set(int i, bf16 value) {
    std::uint32_t& pair = pairs[i / 2];
    const std::uint32_t bits = value.bits;
    pair = i % 2 == 0 ? (pair & 0xffff0000U) | bits : (pair & 0x0000ffffU) | (bits << 16);
  }
};

// One thread's share of a row: chunk `lane`, lane + lanes, ... kHeld of them are a run, loaded together (so that many
// bytes are on their way at once). With kWhole a row is one run and stays in registers; else every pass loads anew.
template <class T, int kWidth_, int kHeld_, bool kWhole_>
struct RowShare {
  using Number = T;
  using Piece = cuda::Piece<T, kWidth_>;
  static constexpr int kWidth = kWidth_;
  static constexpr int kHeld = kHeld_;
  static constexpr bool kWhole = kWhole_;

  int lane;
  int lanes;
  int chunks;  // of the row

  // visit(first) for every run, `first` its first chunk.
  template <class Visit>
  __device__ void runs(const Visit& visit) const {
    if constexpr (kWhole) {
      visit(lane);
    } else {
      for (int first = lane; first < chunks; first += kHeld * lanes) visit(first);
    }
  }

  // visit(k, chunk) for the chunks of a run.
  template <class Visit>
  __device__ void each(int first, const Visit& visit) const {
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int chunk = first + k * lanes;
      if (chunk < chunks) visit(k, chunk);
    }
  }

  // Beyond the row's end its last chunk again: loads that depend on nothing are all under way before the first is used.
  __device__ void load(const T* row, int first, Piece (&to)[kHeld]) const {
#pragma unroll
    for (int k = 0; k < kHeld; ++k) to[k] = load(row, min(first + k * lanes, chunks - 1));
  }
  __device__ static Piece load(const T* row, int chunk) {
    return std::bit_cast<Piece>(load_chunk<kWidth>(row + chunk * kWidth));
  }
  __device__ static void store(T* row, int chunk, const Piece& piece) {
    store_whole(reinterpret_cast<Piece*>(row) + chunk, piece);
  }
};

// The sum of `lanes` neighbouring threads' values, on each of them; lanes a power of two up to a warp. All threads of
// the warp must call it.
__device__ inline float over_lanes(float value, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
  return value;
}

// Sums over the threads that share a row, one after another: a warp (kWarpRows) or a one-dimensional block of whole
// warps. A block's cost one barrier each: two halves of `shared` take turns, so that a sum is not overwritten while a
// slower warp still reads it.
template <int kCount, bool kWarpRows>
class RowSums {
 public:
  static constexpr int kMostWarps = 16;
  struct Shared {
    float at[kWarpRows ? 1 : 2][kWarpRows ? 1 : kMostWarps][kCount];
  };

  __device__ explicit RowSums(Shared& shared) : shared_(shared) {}

  // Leaves the sums of the threads' values on each of them. All threads must call it.
  __device__ void operator()(float (&values)[kCount]) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) values[n] = over_warp(values[n], Sum{});
    if constexpr (!kWarpRows) over_warps(values);
  }

 private:
  __device__ void over_warps(float (&values)[kCount]) {
    auto& slots = shared_.at[turn_];
    turn_ ^= 1;
    const int warps = static_cast<int>(blockDim.x) / kWarp;
    if (threadIdx.x % kWarp == 0) {
#pragma unroll
      for (int n = 0; n < kCount; ++n) slots[threadIdx.x / kWarp][n] = values[n];
    }
    __syncthreads();
#pragma unroll
    for (int n = 0; n < kCount; ++n) values[n] = slots[0][n];
    for (int other = 1; other < warps; ++other) {
#pragma unroll
      for (int n = 0; n < kCount; ++n) values[n] += slots[other][n];
    }
  }

  Shared& shared_;
  int turn_ = 0;
};

}  // namespace headroom::cuda
