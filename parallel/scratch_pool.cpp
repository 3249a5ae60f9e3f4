#include "parallel/scratch_pool.h"

#include <algorithm>

namespace headroom {

Buffer ScratchPool::take(std::size_t bytes) {
  const auto smaller = [](const Buffer& a, const Buffer& b) { return a.bytes() < b.bytes(); };
  std::sort(free_.begin(), free_.end(), smaller);
  const auto fits =
      std::find_if(free_.begin(), free_.end(), [&](const Buffer& block) { return block.bytes() >= bytes; });
  if (fits != free_.end()) {
    Buffer block = std::move(*fits);
    free_.erase(fits);
    return block;
  }
  if (!free_.empty()) free_.pop_back();
  return Buffer(bytes, Device::cpu, "a collective's scratch space");
}

}  // namespace headroom
