// Tables of rotary angles.
#pragma once

#include <vector>

#include "model/decoder/config.h"
#include "tensor/memory.h"

namespace headroom::decoder {

// Whether a sequence of `length` tokens has the angles of longrope's long factors, at all of its positions.
bool has_long_angles(const Rope& rope, std::int64_t length);

// Angle per position of each pair of rotated dims, dims/2 of them, in a sequence of `length` tokens.
std::vector<double> rope_angles(const Rope& rope, std::int64_t length);

// cos and sin [positions, dims/2], f32.
struct RopeTable {
  Buffer memory;
  Tensor cos;
  Tensor sin;
};
// For the first `positions` of a sequence of `length` tokens.
RopeTable make_rope_table(const Rope& rope, std::int64_t positions, std::int64_t length);

}  // namespace headroom::decoder
