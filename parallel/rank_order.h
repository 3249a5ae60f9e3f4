// Reductions in rank order: element i of the result is ((x0[i] + x1[i]) + x2[i]) + ..., whatever the order in which the
// contributions arrived, so that the same layout gives the same bits.
#pragma once

#include <cstdint>
#include <span>

#include "parallel/communicator.h"

namespace headroom {

// out[i] = reduction over `sources`, in their order, of element i. All are blocks of `elements` numbers of `type`;
// `out` may be one of the sources, but may not overlap them otherwise. bf16 is reduced in f32 and rounded once. A
// maximum over a NaN is NaN.
void reduce_in_order(Reduction reduction, std::span<const void* const> sources, void* out, std::int64_t elements,
                     DType type);

}  // namespace headroom
