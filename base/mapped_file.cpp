#include "base/mapped_file.h"

#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <utility>

#include "base/activity.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom {

static_assert(std::endian::native == std::endian::little, "mapped files are little-endian and read as they are");

namespace {

// From the end of the file to that of its last page.
std::size_t rest_of_page(std::size_t size) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (page - size % page) % page;
}

}  // namespace

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
  // Reads past the end give zeros there; the address sanitizer, where it is in use, shall report them.
  ASAN_POISON_MEMORY_REGION(data_ + size_, rest_of_page(size_));
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  ASAN_UNPOISON_MEMORY_REGION(data_ + size_, rest_of_page(size_));
  ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace headroom
