// What kernels share: 16-byte accesses, sums over a warp and a block, shared memory. All sums have one order, whatever
// the device does first, so that the same launch gives the same bits.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

#include "tensor/bf16.h"

namespace headroom::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffU;

// As many numbers as one 16-byte access moves: 4 floats, 8 bf16.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];
};

// Whether an address may be accessed 16 bytes at a time.
__host__ __device__ inline bool aligned(const void* address) {
  return (reinterpret_cast<std::uintptr_t>(address) & 15U) == 0;
}

// Whether a matrix's rows may be: their beginnings and their length.
template <class T>
__host__ __device__ bool aligned_rows(const void* address, std::int64_t columns) {
  return aligned(address) && columns % Pack<T>::kSize == 0;
}

template <class T>
__device__ Pack<T> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T>*>(from);
}
template <class T>
__device__ void store_pack(T* to, const Pack<T>& pack) {
  *reinterpret_cast<Pack<T>*>(to) = pack;
}

// A value into global memory; 16 bytes certainly in one access. (A plain assignment may be taken apart into 2 or 4
// bytes at a time where the compiler loses sight of the alignment, by what surrounds it.)
template <class Value>
__device__ void store_whole(Value* to, const Value& value) {
  if constexpr (sizeof(Value) == sizeof(uint4)) {
    __stwb(reinterpret_cast<uint4*>(to), std::bit_cast<uint4>(value));
  } else {
    *to = value;
  }
}

// The launch's dynamic shared memory, 16-byte aligned.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// The combination of all 32 lanes' values, on every lane. All lanes of the warp must call it.
template <class T, class Combine>
__device__ T over_warp(T value, Combine combine) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

// The combination of all threads' values, on every thread. All threads of a one-dimensional block of whole warps must
// call it. `shared` holds at least a number a warp and may be used again right after.
template <class T, class Combine>
__device__ T over_block(T value, T* shared, Combine combine) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = over_warp(value, combine);
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  value = shared[0];
  for (int other = 1; other < warps; ++other) value = combine(value, shared[other]);
  __syncthreads();
  return value;
}

}  // namespace headroom::cuda
