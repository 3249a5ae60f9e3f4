#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace headroom {
namespace {

// Writes all of it; 0 or the errno of the first failure.
int write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

void throw_write_error(const std::filesystem::path& path, std::string_view action, int error_number) {
  const std::string reason = std::generic_category().message(error_number);
  std::string hint = "Check that the directory exists and may be written, or choose another runs_dir.";
  if (error_number == ENOSPC || error_number == EDQUOT) hint = "Free some space, or choose another runs_dir.";
  throw Error(ExitCode::disk_full, fmt::format("cannot {} '{}': {}", action, path.string(), reason), hint);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path partial = path.string() + ".partial";
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) throw_write_error(partial, "create", errno);
  int error = write_all(descriptor, content);
  if (error == 0 && ::fsync(descriptor) != 0) error = errno;
  // Some file systems report a failed write only here.
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(partial.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(partial.c_str());
    throw_write_error(path, "write", error);
  }
  sync_directory(path.parent_path());
}

void make_directories(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw_write_error(path, "create the directory", error.value());
}

void sync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? "." : directory;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw_write_error(path, "open", errno);
  const int error = ::fsync(descriptor) != 0 ? errno : 0;
  ::close(descriptor);
  // Some network file systems have nothing to synchronise for a directory and say so with EINVAL.
  if (error != 0 && error != EINVAL) throw_write_error(path, "synchronise", error);
}

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw_write_error(path_, "open", errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    const int error = errno;
    close();
    throw_write_error(path_, "examine", error);
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

AppendFile::~AppendFile() {
  close();
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  if (this != &other) {
    close();
    path_ = std::move(other.path_);
    descriptor_ = std::exchange(other.descriptor_, -1);
    size_ = other.size_;
  }
  return *this;
}

void AppendFile::close() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

void AppendFile::append(std::string_view record) {
  const int error = write_all(descriptor_, record);
  if (error != 0) {
    // Taking the part back needs no space.
    const bool taken_back = ::ftruncate(descriptor_, static_cast<off_t>(size_)) == 0;
    throw_write_error(path_, taken_back ? "append to" : "append to (and half a record stays in)", error);
  }
  size_ += record.size();
}

void AppendFile::sync() {
  if (::fsync(descriptor_) != 0) throw_write_error(path_, "synchronise", errno);
}

}  // namespace headroom
