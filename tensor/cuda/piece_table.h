// What the optimizer's kernels over a table of pieces share. A piece is cut into kPartsOfPiece parts, a block each, so
// that the blocks of a small model fill a GPU too; what a part's block does depends on the table alone.
#pragma once

#include <string_view>

#include "tensor/cuda/chunk.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/ops.h"

namespace headroom::cuda {

inline constexpr int kPieceThreads = 256;
inline constexpr int kPartsOfPiece = 8;
inline constexpr std::int64_t kPartLength = Piece::kLargest / kPartsOfPiece;

// This block's part of its piece, as a piece; empty where the piece has no such part.
__device__ inline Piece own_part(const Piece* table) {
  Piece part = table[blockIdx.x / kPartsOfPiece];
  const std::int64_t index = blockIdx.x % kPartsOfPiece;
  const std::int64_t begin = index * kPartLength;
  const std::int64_t rest = part.length > begin ? part.length - begin : 0;
  part.flat += begin;
  part.state += begin;
  part.length = index == kPartsOfPiece - 1 || rest < kPartLength ? rest : kPartLength;
  return part;
}

// Calls use.template operator()<N>(i) for this thread's numbers [i, i + N) of `length`: kWide at a time if `wide`, one
// at a time else and for what is left over. All numbers of a turn are the block's next ones.
template <int kWide, int kUnroll, class Use>
__device__ void for_share(std::int64_t length, bool wide, const Use& use) {
  const std::int64_t whole = wide ? length / kWide * kWide : 0;
#pragma unroll kUnroll
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * kWide; i < whole; i += blockDim.x * kWide) {
    use.template operator()<kWide>(i);
  }
#pragma unroll 1
  for (std::int64_t i = whole + threadIdx.x; i < length; i += blockDim.x) use.template operator()<1>(i);
}

// Weights on the device: the optimizer works on the master at Piece::state where there is one, else on the values at
// Piece::flat, and leaves the values rounded.
template <class T>
struct WeightsAt {
  T* values;
  float* master;  // or null

  template <int kCount>
  __device__ void load(const Piece& piece, std::int64_t i, float (&to)[kCount]) const {
    if (master != nullptr) {
      load_floats(master + piece.state + i, to);
    } else {
      load_floats(values + piece.flat + i, to);
    }
  }
  template <int kCount>
  __device__ void store(const Piece& piece, std::int64_t i, const float (&from)[kCount]) const {
    if (master != nullptr) store_floats(from, master + piece.state + i);
    store_floats(from, values + piece.flat + i);
  }
};

// The table's rows. Throws where it is none.
inline const Piece* rows_of(std::string_view op, const Tensor& table) {
  static_assert(sizeof(Piece) == Piece::kWords * sizeof(std::int64_t));
  HEADROOM_CHECK(table.dtype() == DType::i64 && table.columns() == Piece::kWords, "{}: a table of pieces {} {}", op,
                 name_of(table.dtype()), table.shape().text());
  return reinterpret_cast<const Piece*>(table.address<std::int64_t>());
}

inline Grid part_grid(const Tensor& table) {
  return {extent(table.rows() * kPartsOfPiece), kPieceThreads};
}

template <class T>
WeightsAt<T> weights_at(std::string_view op, const Weights& weights) {
  HEADROOM_CHECK(!weights.master.present() || weights.master.dtype() == DType::f32, "{}: master weights of {}", op,
                 name_of(weights.master.dtype()));
  return {weights.values.address<T>(), address_or_null<float>(weights.master)};
}

}  // namespace headroom::cuda
