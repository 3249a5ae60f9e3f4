// What a rank says of its call before it sends anything that belongs to it, so that ranks whose calls differ find out.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "parallel/communicator.h"

namespace headroom {

enum class Collective : std::int16_t {
  all_gather,
  reduce_scatter,
  all_reduce,
  gather_bytes,
  broadcast_bytes,
  barrier,
  split
};

// The same on all ranks of a call. Also what goes over the wire, byte by byte.
struct Announcement {
  Collective collective;
  DType type = DType::f32;               // of numbers
  Reduction reduction = Reduction::sum;  // of reductions
  std::int32_t root = 0;                 // of messages of bytes
  std::int64_t elements = 0;             // of the whole tensor; of messages of bytes all ranks' bytes, once known

  bool operator==(const Announcement&) const = default;
};
static_assert(std::has_unique_object_representations_v<Announcement>, "no padding goes over the wire");

const char* name_of(Collective collective);

// "all_reduce (max) of 12 f32 elements", "gather_bytes to rank 0".
std::string describe(const Announcement& announcement);

}  // namespace headroom
