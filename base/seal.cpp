#include "base/seal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace headroom {
namespace {

constexpr std::string_view kMagic = "headroom seal 1\n";
constexpr std::size_t kBlock = std::size_t{1} << 20;

static_assert(kMagic.size() + sizeof(std::uint64_t) == kSealBytes);

std::string seal_of(std::uint64_t hash) {
  std::string seal(kMagic);
  for (int byte = 0; byte < 8; ++byte) seal += static_cast<char>(hash >> (8 * byte) & 0xff);
  return seal;
}

std::uint64_t hash_in(std::string_view seal) {
  std::uint64_t hash = 0;
  for (std::size_t byte = 0; byte < 8; ++byte) {
    hash |= std::uint64_t{static_cast<unsigned char>(seal[kMagic.size() + byte])} << (8 * byte);
  }
  return hash;
}

// Fills `block` from a place in the file; the number of bytes that are there, or -1 with errno.
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

// The hash of the first `size` bytes; 0 or the errno of a failed read (EIO where the file has fewer).
int hash_front(int file, std::uint64_t size, std::uint64_t& hash) {
  const std::unique_ptr<XXH64_state_t, XXH_errorcode (*)(XXH64_state_t*)> state(XXH64_createState(), XXH64_freeState);
  HEADROOM_CHECK(state && XXH64_reset(state.get(), 0) == XXH_OK, "xxHash has no state");
  std::vector<char> block(kBlock);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);  // a hint, no more
  for (std::uint64_t place = 0; place < size;) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, size - place));
    const ssize_t count = read_at(file, block.data(), wanted, place);
    if (count < 0) return errno;
    if (static_cast<std::size_t>(count) < wanted) return EIO;
    XXH64_update(state.get(), block.data(), wanted);
    place += wanted;
  }
  hash = XXH64_digest(state.get());
  return 0;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what, const char* hint) {
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: {}", path.string(), what), hint);
}

[[noreturn]] void refuse_unreadable(const std::filesystem::path& path, int error_number) {
  refuse(path, "cannot be read: " + std::generic_category().message(error_number), "Check the path and the disk.");
}

}  // namespace

void seal_file(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  if (!file) throw_write_error(path, "seal", errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_write_error(path, "seal", errno);
  std::uint64_t hash = 0;
  int error = hash_front(file.get(), static_cast<std::uint64_t>(status.st_size), hash);
  if (error == 0) error = write_all(file.get(), seal_of(hash));
  if (error == 0 && ::fsync(file.get()) != 0) error = errno;
  if (const int closing = file.close(); error == 0) error = closing;
  if (error != 0) throw_write_error(path, "seal", error);
}

void verify_seal(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) refuse_unreadable(path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) refuse_unreadable(path, errno);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < kSealBytes) {
    refuse(path, fmt::format("truncated: {} bytes are less than the seal at its end alone", size),
           "Use another copy, or make it again.");
  }
  std::string seal(kSealBytes, '\0');
  const std::uint64_t front = size - kSealBytes;
  const ssize_t count = read_at(file.get(), seal.data(), kSealBytes, front);
  if (count != static_cast<ssize_t>(kSealBytes)) refuse_unreadable(path, count < 0 ? errno : EIO);
  if (!seal.starts_with(kMagic)) {
    refuse(path, "has no seal at its end: it is truncated, or not a finished file of this version of Headroom",
           "Use another copy, or make it again.");
  }
  std::uint64_t hash = 0;
  if (const int error = hash_front(file.get(), front, hash); error != 0) refuse_unreadable(path, error);
  if (hash != hash_in(seal)) {
    refuse(path,
           fmt::format("damaged: its bytes have the hash {}, its seal says {}", hex_digits(hash),
                       hex_digits(hash_in(seal))),
           "It changed after it was written: use another copy, or make it again, and check the disk.");
  }
}

}  // namespace headroom
