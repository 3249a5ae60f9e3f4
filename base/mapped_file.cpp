#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <utility>

#include "base/activity.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom {

static_assert(std::endian::native == std::endian::little, "mapped files are little-endian and read as they are");

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Activity activity("open", path);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) throw_read_error(path, errno);
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) throw_read_error(path, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ExitCode::bad_data, fmt::format("{} is not a regular file", path.string()));
  }
  if (status.st_size == 0) throw Error(ExitCode::bad_data, fmt::format("{} is empty", path.string()));
  size_ = static_cast<std::size_t>(status.st_size);
  void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) throw_read_error(path, errno);
  data_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace headroom
