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
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) throw_write_error(path_, "examine", errno);
  size_ = static_cast<std::uint64_t>(status.st_size);
}

void AppendFile::append(std::string_view record) {
  const Activity activity("append", path_);
  const int error = write_all(file_.get(), record);
  if (error != 0) {
    // Taking the part back needs no space.
    const bool taken_back = ::ftruncate(file_.get(), static_cast<off_t>(size_)) == 0;
    throw_write_error(path_, taken_back ? "append to" : "append to (and half a record stays in)", error);
  }
  size_ += record.size();
}

void AppendFile::sync() {
  const Activity activity("fsync", path_);
  if (::fsync(file_.get()) != 0) throw_write_error(path_, "synchronise", errno);
}

}  // namespace headroom
