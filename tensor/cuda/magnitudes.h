// The monitor's summary on a GPU: one number that holds the maximum and its place, and the histogram. Both are made
// with integer atomics, whose order does not matter.
//
//   word 0            key of the largest |x|: the magnitude's bits above, its place below, inverted so that of equals
//                     the first is the largest key
//   words 1, ...      counts, a word a bin (MagnitudeSummary::kBins of them)
//   then              how many bits of the key are the place; 0 as long as nothing was added
#pragma once

#include <algorithm>
#include <string_view>

#include "tensor/cuda/device_code.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/ops.h"

namespace headroom::cuda {

// How a dtype's magnitude and place share 63 bits: bf16's 15 bits leave 48 for the place (a step of 2.8e14 elements),
// f32's 31 leave 32 (4.3e9).
template <class T>
inline constexpr int kPlaceBits = sizeof(T) == 2 ? 48 : 32;
inline constexpr int kPlaceBitsWord = 1 + MagnitudeSummary::kBins;
static_assert(kPlaceBitsWord < MagnitudeSummary::kWords);

// The bits of |x|, as many as the dtype has, all NaNs one above infinity.
__device__ inline std::uint32_t magnitude_bits(float value) {
  const std::uint32_t bits = __float_as_uint(value) & 0x7fffffffU;
  return bits <= 0x7f800000U ? bits : 0x7f800001U;
}

// The histogram's bin of a magnitude: exponent and top mantissa bits, see MagnitudeSummary.
__device__ inline int magnitude_bin(std::uint32_t bits) {
  constexpr int kBinBits = 3;
  static_assert(1 << kBinBits == MagnitudeSummary::kBinsPerOctave);
  const int bin = static_cast<int>(bits >> (23 - kBinBits)) - ((127 + MagnitudeSummary::kLowestExponent) << kBinBits);
  return bin < 0 ? 0 : (bin >= MagnitudeSummary::kBins ? MagnitudeSummary::kBins - 1 : bin);
}

// A magnitude at a place (row * columns + column over the whole step) as a key: larger for larger magnitudes, and of
// equal ones for earlier places.
template <class T>
__device__ unsigned long long magnitude_key(std::uint32_t bits, std::uint64_t place) {
  constexpr std::uint64_t kPlaces = (std::uint64_t{1} << kPlaceBits<T>)-1;
  // A NaN's last bit must survive the cut to bf16's 15 bits: one above bf16's infinity.
  const std::uint64_t magnitude = sizeof(T) == 2 ? (bits == 0x7f800001U ? 0x7f81U : bits >> 16) : bits;
  return (magnitude << kPlaceBits<T>) | (kPlaces - place);
}

// The largest magnitude one thread has seen, and where.
struct OwnMaximum {
  int bits = -1;
  std::int64_t place = 0;

  template <class T>
  __device__ unsigned long long key() const {
    return bits < 0 ? 0 : magnitude_key<T>(static_cast<std::uint32_t>(bits), static_cast<std::uint64_t>(place));
  }
};

// A block's own summary, in shared memory, added to the device's at the end:
//   __shared__ BlockMagnitudes seen;
//   seen.begin();                                            // all threads
//   OwnMaximum largest;                                      // of this thread
//   ... seen.see<kCount>(value_of, place, largest);         // value_of(0), ..., value_of(kCount - 1), from `place` on
//   seen.finish<T>(largest, summary);                        // all threads
// One histogram a block: a hidden state's magnitudes spread over some forty bins, so that the 32 lanes of an atomic
// meet three or four at a bin or bank. By count, not measured, that is a third of the time in which a multiprocessor's
// share of the memory bandwidth brings 32 elements of an add and norm. A block should see many rows: it has a histogram
// to zero and to add up.
struct BlockMagnitudes {
  unsigned long long key;
  unsigned int counts[MagnitudeSummary::kBins];

  __device__ void begin() {
    for (int bin = static_cast<int>(threadIdx.x); bin < MagnitudeSummary::kBins; bin += static_cast<int>(blockDim.x)) {
      counts[bin] = 0;
    }
    if (threadIdx.x == 0) key = 0;
    __syncthreads();
  }
  // A thread must see places in rising order.
  template <int kCount, class ValueOf>
  __device__ void see(const ValueOf& value_of, std::int64_t place, OwnMaximum& largest) {
    int most = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const std::uint32_t bits = magnitude_bits(value_of(i));
      most = max(most, static_cast<int>(bits));
      atomicAdd(&counts[magnitude_bin(bits)], 1U);
    }
    if (most <= largest.bits) return;  // nearly always
    largest.bits = most;
#pragma unroll
    for (int i = kCount - 1; i >= 0; --i) {
      if (static_cast<int>(magnitude_bits(value_of(i))) == most) largest.place = place + i;
    }
  }
  template <class T>
  __device__ void finish(const OwnMaximum& largest, unsigned long long* summary) {
    const unsigned long long of_warp = over_warp(largest.key<T>(), Max{});
    if (threadIdx.x % kWarp == 0) atomicMax(&key, of_warp);
    __syncthreads();
    for (int bin = static_cast<int>(threadIdx.x); bin < MagnitudeSummary::kBins; bin += static_cast<int>(blockDim.x)) {
      if (counts[bin] != 0) atomicAdd(&summary[1 + bin], static_cast<unsigned long long>(counts[bin]));
    }
    if (threadIdx.x == 0) atomicMax(&summary[0], key);
    if (threadIdx.x == 0 && blockIdx.x == 0) summary[kPlaceBitsWord] = kPlaceBits<T>;
  }
};

// The address of a summary on the device, or null if it is absent. Fails unless it is one, and the places of `rows`
// rows from seen.first_row on fit its key.
template <class T>
unsigned long long* summary_address(std::string_view op, const Magnitudes& seen, std::int64_t rows,
                                    std::int64_t columns) {
  if (!seen.summary.present()) return nullptr;
  expect(op, "the magnitudes' summary", seen.summary, DType::i64, MagnitudeSummary::kWords);
  constexpr std::int64_t kPlaces = (std::int64_t{1} << kPlaceBits<T>)-1;
  HEADROOM_CHECK(seen.first_row >= 0 && (seen.first_row + rows) <= kPlaces / std::max<std::int64_t>(columns, 1),
                 "{}: {} rows of {} columns from row {} on: places in {} must be below {}", op, rows, columns,
                 seen.first_row, name_of(dtype_of<T>()), kPlaces);
  return reinterpret_cast<unsigned long long*>(seen.summary.address<std::int64_t>());
}

}  // namespace headroom::cuda
