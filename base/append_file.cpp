#include "base/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/activity.h"
#include "base/file.h"

namespace headroom {

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  const Activity activity("open", path_);
  file_ = Descriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!file_) throw_write_error(path_, "open", errno);
}

void AppendFile::append(std::string_view record) {
  const Activity activity("append", path_);
  if (half_) cut(*half_);
  const std::uint64_t before = size();
  int error = write_all(file_.get(), record);
  // A file that was removed or moved away takes a record without complaint.
  if (error == 0 && !in_place()) error = ENOENT;
  if (error == 0) return;
  // Taking the part back needs no space.
  if (::ftruncate(file_.get(), static_cast<off_t>(before)) != 0) half_ = before;
  throw_write_error(path_, half_ ? "append to (and half a record stays in)" : "append to", error);
}

void AppendFile::cut(std::uint64_t size) {
  if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0) throw_write_error(path_, "cut back", errno);
  half_.reset();
}

void AppendFile::sync() {
  const Activity activity("fsync", path_);
  if (::fsync(file_.get()) != 0) throw_write_error(path_, "synchronise", errno);
}

bool AppendFile::in_place() const {
  struct stat mine {};
  struct stat named {};
  if (::fstat(file_.get(), &mine) != 0 || ::stat(path_.c_str(), &named) != 0) return false;
  return mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

std::uint64_t AppendFile::size() const {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) throw_write_error(path_, "examine", errno);
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace headroom
