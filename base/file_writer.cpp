#include "base/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/activity.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;

}  // namespace

FileWriter::FileWriter(const std::filesystem::path& path) : path_(path) {
  const Activity activity("create", path_);
  file_ = Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file_) throw_write_error(path_, "create", errno);
  buffer_.reserve(kBufferBytes);
}

void FileWriter::write(const void* data, std::size_t bytes) {
  written_ += bytes;
  if (buffer_.size() + bytes > kBufferBytes) flush();
  if (bytes >= kBufferBytes) {
    put(data, bytes);
  } else {
    buffer_.append(static_cast<const char*>(data), bytes);
  }
}

void FileWriter::write_at_front(const void* data, std::size_t bytes) {
  HEADROOM_CHECK(bytes <= written_, "{} bytes over the front of a file of {}", bytes, written_);
  flush();
  const Activity activity("write", path_);
  const ssize_t count = ::pwrite(file_.get(), data, bytes, 0);
  if (count < 0) throw_write_error(path_, "write", errno);
  if (static_cast<std::size_t>(count) != bytes) throw_write_error(path_, "write", ENOSPC);
}

void FileWriter::close() {
  flush();
  const Activity activity("fsync", path_);
  if (::fsync(file_.get()) != 0) throw_write_error(path_, "synchronise", errno);
  if (const int error = file_.close(); error != 0) throw_write_error(path_, "close", error);
}

void FileWriter::flush() {
  put(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void FileWriter::put(const void* data, std::size_t bytes) {
  const Activity activity("write", path_);
  const int error = write_all(file_.get(), {static_cast<const char*>(data), bytes});
  if (error != 0) throw_write_error(path_, "write", error);
}

}  // namespace headroom
