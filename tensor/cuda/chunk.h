// N numbers that move together. A kernel is written once over chunks and instantiated twice: with as many numbers as 16
// bytes hold, for addresses that allow it, and with single numbers for all others. Arithmetic is in float.
#pragma once

#include "tensor/cuda/device_code.h"

namespace headroom::cuda {

template <class T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Chunk {
  T at[kCount];
};

// `from` and `to` must be aligned to the chunk's size, at most 16 bytes.
template <int kCount, class T>
__device__ Chunk<T, kCount> load_chunk(const T* from) {
  return *reinterpret_cast<const Chunk<T, kCount>*>(from);
}
template <class T, int kCount>
__device__ void store_chunk(T* to, const Chunk<T, kCount>& chunk) {
  *reinterpret_cast<Chunk<T, kCount>*>(to) = chunk;
}

// The same, widened to and rounded from float.
template <int kCount, class T>
__device__ void load_floats(const T* from, float (&to)[kCount]) {
  const Chunk<T, kCount> chunk = load_chunk<kCount>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = static_cast<float>(chunk.at[i]);
}
template <int kCount, class T>
__device__ void store_floats(const float (&from)[kCount], T* to) {
  Chunk<T, kCount> chunk;
#pragma unroll
  for (int i = 0; i < kCount; ++i) chunk.at[i] = static_cast<T>(from[i]);
  store_chunk(to, chunk);
}

// Calls kernel.template operator()<N>() with N numbers of T a chunk: 16 bytes' worth if `wide`, else 1.
template <class T, class Kernel>
void dispatch_width(bool wide, Kernel&& kernel) {
  if (wide) {
    kernel.template operator()<Pack<T>::kSize>();
  } else {
    kernel.template operator()<1>();
  }
}

}  // namespace headroom::cuda
