#include "base/file_hash.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/activity.h"
#include "base/error.h"

namespace headroom {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;

}  // namespace

ssize_t read_at(int file, char* block, std::size_t size, std::uint64_t place) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(file, block + done, size - done, static_cast<off_t>(place + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return static_cast<ssize_t>(done);
}

int hash_range(int file, std::uint64_t begin, std::uint64_t size, std::uint64_t& hash) {
  const std::unique_ptr<XXH64_state_t, XXH_errorcode (*)(XXH64_state_t*)> state(XXH64_createState(), XXH64_freeState);
  HEADROOM_CHECK(state && XXH64_reset(state.get(), 0) == XXH_OK, "xxHash has no state");
  std::vector<char> block(kBlock);
  ::posix_fadvise(file, static_cast<off_t>(begin), static_cast<off_t>(size), POSIX_FADV_SEQUENTIAL);  // a hint, no more
  for (std::uint64_t done = 0; done < size;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, size - done));
    const ssize_t count = read_at(file, block.data(), wanted, begin + done);
    if (count < 0) return errno;
    if (static_cast<std::size_t>(count) < wanted) return EIO;
    XXH64_update(state.get(), block.data(), wanted);
    note_progress();
    done += wanted;
  }
  hash = XXH64_digest(state.get());
  return 0;
}

}  // namespace headroom
