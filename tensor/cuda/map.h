// Element-wise operations: out[i] = f(a[i]) or f(a[i], b[i]) over whole tensors. `out` may be the memory of `a` or `b`:
// a thread reads its elements before it writes them, and nobody else's.
#pragma once

#include "tensor/cuda/chunk.h"
#include "tensor/cuda/launch.h"

namespace headroom::cuda {

// As store_floats, but certainly in one access, see store_whole.
template <int kCount, class T>
__device__ void store_rounded(const float (&from)[kCount], T* to) {
  Chunk<T, kCount> chunk;
#pragma unroll
  for (int i = 0; i < kCount; ++i) chunk.at[i] = static_cast<T>(from[i]);
  store_whole(reinterpret_cast<Chunk<T, kCount>*>(to), chunk);
}

inline constexpr int kMapThreads = 256;
inline constexpr int kMapHeld = 2;  // chunks a thread: 32 bytes an input on their way

// `make()` on the device gives f, so that it may fetch a number first. b is null where f takes one argument.
template <class T, int kWidth, bool kTwo, class Make>
__global__ void __launch_bounds__(kMapThreads)
    map_kernel(Make make, std::int64_t chunks, const T* a, const T* b, T* out) {
  const auto f = make();
  const std::int64_t first = std::int64_t{blockIdx.x} * (kMapThreads * kMapHeld) + threadIdx.x;
  Chunk<T, kWidth> left[kMapHeld];
  Chunk<T, kWidth> right[kMapHeld];
#pragma unroll
  for (int k = 0; k < kMapHeld; ++k) {
    const std::int64_t chunk = min(first + k * kMapThreads, chunks - 1);  // always one: loads wait for no branch
    left[k] = load_chunk<kWidth>(a + chunk * kWidth);
    if constexpr (kTwo) right[k] = load_chunk<kWidth>(b + chunk * kWidth);
  }
#pragma unroll
  for (int k = 0; k < kMapHeld; ++k) {
    const std::int64_t chunk = first + k * kMapThreads;
    if (chunk >= chunks) continue;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const auto value = static_cast<float>(left[k].at[i]);
      if constexpr (kTwo) {
        left[k].at[i] = static_cast<T>(f(value, static_cast<float>(right[k].at[i])));
      } else {
        left[k].at[i] = static_cast<T>(f(value));
      }
    }
    store_whole(reinterpret_cast<Chunk<T, kWidth>*>(out) + chunk, left[k]);
  }
}

// The whole chunks in one launch, what is left of an odd count number by number in another.
template <class T, bool kTwo, class Make>
void map(const char* op, const Make& make, std::int64_t count, const T* a, const T* b, T* out) {
  const auto run = [&]<int kWidth>(std::int64_t begin, std::int64_t chunks) {
    const Grid grid{dim3(extent(pieces(chunks, kMapThreads * kMapHeld))), dim3(kMapThreads)};
    launch(op, map_kernel<T, kWidth, kTwo, Make>, grid, make, chunks, a + begin, kTwo ? b + begin : nullptr,
           out + begin);
  };
  const std::int64_t whole = aligned(a) && aligned(b) && aligned(out) ? count / Pack<T>::kSize : 0;
  const std::int64_t rest = whole * Pack<T>::kSize;
  run.template operator()<Pack<T>::kSize>(0, whole);
  run.template operator()<1>(rest, count - rest);
}

// out = f(a), out = f(a, b); `make` as above.
template <class T, class Make>
void map(const char* op, const Make& make, std::int64_t count, const T* a, T* out) {
  map<T, false>(op, make, count, a, static_cast<const T*>(nullptr), out);
}
template <class T, class Make>
void map(const char* op, const Make& make, std::int64_t count, const T* a, const T* b, T* out) {
  map<T, true>(op, make, count, a, b, out);
}

// A function that needs nothing fetched.
template <class F>
struct Plain {
  __device__ F operator()() const { return {}; }
};

}  // namespace headroom::cuda
