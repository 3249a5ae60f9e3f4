#include "data/file_io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace headroom {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and read as they are");

namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

// Closes a descriptor at the end of a scope.
struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

[[noreturn]] void fail_read(const std::filesystem::path& path, int error) {
  throw Error(ExitCode::bad_data, fmt::format("cannot read {}: {}", path.string(), std::strerror(error)),
              error == ENOENT ? "Check the path; it is relative to the current directory unless it starts with '/'."
                              : "Check the file's permissions.");
}

[[noreturn]] void fail_write(const std::filesystem::path& path, int error) {
  throw Error(ExitCode::disk_full, fmt::format("cannot write {}: {}", path.string(), std::strerror(error)),
              error == ENOSPC || error == EDQUOT ? "Free some space there, or choose another place."
                                                 : "Check that the directory exists and may be written to.");
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.value < 0) fail_read(path, errno);
  struct stat status = {};
  if (::fstat(file.value, &status) != 0) fail_read(path, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ExitCode::bad_data, fmt::format("{} is not a regular file", path.string()));
  }
  if (status.st_size == 0) throw Error(ExitCode::bad_data, fmt::format("{} is empty", path.string()));
  size_ = static_cast<std::size_t>(status.st_size);
  void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.value, 0);
  if (memory == MAP_FAILED) fail_read(path, errno);
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

FileWriter::FileWriter(const std::filesystem::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail_write(path_, errno);
  buffer_.reserve(kBufferBytes);
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      written_(other.written_),
      buffer_(std::move(other.buffer_)) {}

void FileWriter::write(const void* data, std::size_t bytes) {
  written_ += bytes;
  if (buffer_.size() + bytes > kBufferBytes) flush();
  if (bytes >= kBufferBytes) {
    put(static_cast<const std::byte*>(data), bytes);
  } else {
    buffer_.append(static_cast<const char*>(data), bytes);
  }
}

void FileWriter::write_at_front(const void* data, std::size_t bytes) {
  HEADROOM_CHECK(bytes <= written_, "{} bytes over the front of a file of {}", bytes, written_);
  flush();
  const ssize_t count = ::pwrite(descriptor_, data, bytes, 0);
  if (count < 0) fail_write(path_, errno);
  if (static_cast<std::size_t>(count) != bytes) fail_write(path_, ENOSPC);
}

void FileWriter::close() {
  flush();
  if (::fsync(descriptor_) != 0) fail_write(path_, errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail_write(path_, errno);
}

void FileWriter::flush() {
  put(reinterpret_cast<const std::byte*>(buffer_.data()), buffer_.size());
  buffer_.clear();
}

void FileWriter::put(const std::byte* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t count = ::write(descriptor_, data, bytes);
    if (count < 0) {
      if (errno == EINTR) continue;
      fail_write(path_, errno);
    }
    data += count;
    bytes -= static_cast<std::size_t>(count);
  }
}

std::string read_file(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.value < 0) fail_read(path, errno);
  std::string content;
  char block[65536];
  for (;;) {
    const ssize_t count = ::read(file.value, block, sizeof block);
    if (count < 0) {
      if (errno == EINTR) continue;
      fail_read(path, errno);
    }
    if (count == 0) return content;
    content.append(block, static_cast<std::size_t>(count));
  }
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::path partial = path;
  partial += ".partial";
  FileWriter writer(partial);
  writer.write(content.data(), content.size());
  writer.close();
  std::error_code error;
  std::filesystem::rename(partial, path, error);
  if (error) fail_write(path, error.value());
}

std::string hex_hash(std::string_view content) {
  return fmt::format("{:016x}", XXH64(content.data(), content.size(), 0));
}

}  // namespace headroom
