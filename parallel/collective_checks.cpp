#include "parallel/collective_checks.h"

#include <functional>

namespace headroom {

void check_shard(const char* collective, const Tensor& shard, const Tensor& whole, int rank, int size) {
  HEADROOM_CHECK(shard.dtype() == whole.dtype(), "{} between {} and {}", collective, name_of(shard.dtype()),
                 name_of(whole.dtype()));
  HEADROOM_CHECK(whole.elements() == shard.elements() * size, "{} of {} ranks: a shard of {} and a whole of {}",
                 collective, size, shard.shape().text(), whole.shape().text());
  HEADROOM_CHECK(shard.device() == whole.device(), "{} between {} and {}", collective, name_of(shard.device()),
                 name_of(whole.device()));
  const auto* begin = static_cast<const std::byte*>(shard.raw());
  const auto* whole_begin = static_cast<const std::byte*>(whole.raw());
  const std::less_equal<> before;  // defined for pointers into different blocks, which < is not
  const bool apart = before(begin + shard.bytes(), whole_begin) || before(whole_begin + whole.bytes(), begin);
  HEADROOM_CHECK(apart || begin == whole_begin + rank * shard.bytes(),
                 "{}: the shard overlaps the whole, but is not rank {}'s place in it", collective, rank);
}

}  // namespace headroom
