// Tables of rotary angles.
#pragma once

#include <vector>

#include "model/decoder/config.h"
#include "tensor/memory.h"

namespace headroom::decoder {

// Angle per position of each pair of rotated dims, dims/2 of them.
std::vector<double> rope_angles(const Rope& rope);

// cos and sin [positions, dims/2], f32.
struct RopeTable {
  Buffer memory;
  Tensor cos;
  Tensor sin;
};
RopeTable make_rope_table(const Rope& rope, std::int64_t positions);

}  // namespace headroom::decoder
