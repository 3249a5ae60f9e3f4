// What every backend checks before a collective: the shapes of this rank's own arguments. Mistakes here are bugs of
// the caller and throw ExitCode::internal.
#pragma once

#include "parallel/communicator.h"

namespace headroom {

// `whole` is `size` shards long, of the same dtype, on the same device, and `shard` is either apart from it or exactly
// this rank's place in it.
void check_shard(const char* collective, const Tensor& shard, const Tensor& whole, int rank, int size);

// A backend that reads the tensor's memory itself can do so.
inline void check_on_host(const char* collective, const Tensor& tensor) {
  HEADROOM_CHECK(tensor.device() == Device::cpu, "{} of a tensor that is not in host memory", collective);
}

// `root` is a rank of a group of `size`.
inline void check_root(int root, int size) {
  HEADROOM_CHECK(root >= 0 && root < size, "root {} in a group of {}", root, size);
}

// Where the part of `rank` begins in `whole`, all parts being `shard_bytes` long.
inline std::byte* part_of(const Tensor& whole, int rank, std::int64_t shard_bytes) {
  return static_cast<std::byte*>(whole.raw()) + rank * shard_bytes;
}

}  // namespace headroom
