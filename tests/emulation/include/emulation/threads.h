// What threads of a block know of themselves and do together. The places (file, line) are for messages.
//
// Stricter than a GPU: all threads of a block must meet at the same __syncthreads, and all lanes of a warp operation's
// mask must exist and call the same operation with the same mask. Whatever else happens ends in an
// emulation::Fault.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "emulation/vectors.h"

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

namespace headroom::emulation {

struct Place {
  const char* file;
  int line;
};

enum class Barrier : std::uint8_t { plain, any, all, count };
int block_barrier(Barrier kind, int predicate, Place place);

enum class WarpOp : std::uint8_t { sync, shuffle, ballot, match, sum, least, most, bit_and, bit_or, bit_xor };
// Every lane of the mask brings `value`; a shuffle returns that of lane `source`, 0xff... if it is not in the mask.
std::uint64_t warp_operation(WarpOp operation, unsigned mask, std::uint64_t value, int source, Place place);
int lane();

enum class Shuffle : std::uint8_t { index, up, down, exclusive_or };
int source_lane(Shuffle kind, int argument, int width);

template <class T>
T shuffle(Shuffle kind, unsigned mask, T value, int argument, int width, Place place) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_operation(WarpOp::shuffle, mask, bits, source_lane(kind, argument, width), place);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace headroom::emulation

#define HEADROOM_PLACE_PARAMETERS const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(HEADROOM_PLACE_PARAMETERS) {
  headroom::emulation::block_barrier(headroom::emulation::Barrier::plain, 0, {file, line});
}
inline int __syncthreads_or(int predicate, HEADROOM_PLACE_PARAMETERS) {
  return headroom::emulation::block_barrier(headroom::emulation::Barrier::any, predicate, {file, line});
}
inline int __syncthreads_and(int predicate, HEADROOM_PLACE_PARAMETERS) {
  return headroom::emulation::block_barrier(headroom::emulation::Barrier::all, predicate, {file, line});
}
inline int __syncthreads_count(int predicate, HEADROOM_PLACE_PARAMETERS) {
  return headroom::emulation::block_barrier(headroom::emulation::Barrier::count, predicate, {file, line});
}
inline void __threadfence() {}
inline void __threadfence_block() {}

inline void __syncwarp(unsigned mask = 0xffffffffU, HEADROOM_PLACE_PARAMETERS) {
  headroom::emulation::warp_operation(headroom::emulation::WarpOp::sync, mask, 0, 0, {file, line});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, HEADROOM_PLACE_PARAMETERS) {
  return headroom::emulation::shuffle(headroom::emulation::Shuffle::index, mask, value, source, width, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HEADROOM_PLACE_PARAMETERS) {
  return headroom::emulation::shuffle(headroom::emulation::Shuffle::up, mask, value, static_cast<int>(delta), width,
                                      {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, HEADROOM_PLACE_PARAMETERS) {
  return headroom::emulation::shuffle(headroom::emulation::Shuffle::down, mask, value, static_cast<int>(delta), width,
                                      {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, HEADROOM_PLACE_PARAMETERS) {
  return headroom::emulation::shuffle(headroom::emulation::Shuffle::exclusive_or, mask, value, lane_mask, width,
                                      {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, HEADROOM_PLACE_PARAMETERS) {
  return static_cast<unsigned>(headroom::emulation::warp_operation(headroom::emulation::WarpOp::ballot, mask,
                                                                   predicate != 0 ? 1 : 0, 0, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, HEADROOM_PLACE_PARAMETERS) {
  return __ballot_sync(mask, predicate, file, line) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, HEADROOM_PLACE_PARAMETERS) {
  return __ballot_sync(mask, predicate, file, line) == mask ? 1 : 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, HEADROOM_PLACE_PARAMETERS) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return static_cast<unsigned>(
      headroom::emulation::warp_operation(headroom::emulation::WarpOp::match, mask, bits, 0, {file, line}));
}

#define HEADROOM_WARP_REDUCTION(name, operation, type)                                                                 \
  inline type name(unsigned mask, type value, HEADROOM_PLACE_PARAMETERS) {                                             \
    return static_cast<type>(headroom::emulation::warp_operation(headroom::emulation::WarpOp::operation, mask,         \
                                                                 static_cast<std::uint64_t>(value), 0, {file, line})); \
  }
HEADROOM_WARP_REDUCTION(__reduce_add_sync, sum, unsigned)
HEADROOM_WARP_REDUCTION(__reduce_min_sync, least, unsigned)
HEADROOM_WARP_REDUCTION(__reduce_max_sync, most, unsigned)
HEADROOM_WARP_REDUCTION(__reduce_and_sync, bit_and, unsigned)
HEADROOM_WARP_REDUCTION(__reduce_or_sync, bit_or, unsigned)
HEADROOM_WARP_REDUCTION(__reduce_xor_sync, bit_xor, unsigned)
HEADROOM_WARP_REDUCTION(__reduce_add_sync, sum, int)
HEADROOM_WARP_REDUCTION(__reduce_min_sync, least, int)
HEADROOM_WARP_REDUCTION(__reduce_max_sync, most, int)
#undef HEADROOM_WARP_REDUCTION
#undef HEADROOM_PLACE_PARAMETERS

// Atomics: threads are never interrupted, so reading and writing in turn is one.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = static_cast<T>(old + value);
  return old;
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = static_cast<T>(old - value);
  return old;
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old > value ? old : value;
  return old;
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old < value ? old : value;
  return old;
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old | value;
  return old;
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old & value;
  return old;
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = value;
  return old;
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}
