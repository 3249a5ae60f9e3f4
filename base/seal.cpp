#include "base/seal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_hash.h"
#include "base/hash.h"

namespace headroom {
namespace {

constexpr std::string_view kMagic = "headroom seal 1\n";

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
  int error = hash_range(file.get(), 0, static_cast<std::uint64_t>(status.st_size), hash);
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
  if (const int error = hash_range(file.get(), 0, front, hash); error != 0) refuse_unreadable(path, error);
  if (hash != hash_in(seal)) {
    refuse(path,
           fmt::format("damaged: its bytes have the hash {}, its seal says {}", hex_digits(hash),
                       hex_digits(hash_in(seal))),
           "It changed after it was written: use another copy, or make it again, and check the disk.");
  }
}

}  // namespace headroom
