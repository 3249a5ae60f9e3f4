#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/activity.h"
#include "base/descriptor.h"
#include "base/error.h"

namespace headroom {

namespace {

bool is_full(int error_number) {
  return error_number == ENOSPC || error_number == EDQUOT;
}

}  // namespace

bool WriteError::full() const {
  return is_full(number_);
}

void throw_write_error(const std::filesystem::path& path, std::string_view action, int error_number) {
  const std::string reason = std::generic_category().message(error_number);
  throw WriteError(fmt::format("cannot {} '{}': {}", action, path.string(), reason),
                   is_full(error_number)
                       ? "Free some space there, or choose another place for the output."
                       : "Check that the directory exists and may be written to, or choose another place for the "
                         "output.",
                   error_number);
}

void throw_read_error(const std::filesystem::path& path, int error_number) {
  throw Error(ExitCode::bad_data,
              fmt::format("cannot read {}: {}", path.string(), std::generic_category().message(error_number)),
              error_number == ENOENT
                  ? "Check the path; it is relative to the current directory unless it starts with '/'."
                  : "Check the file's permissions.");
}

std::string read_file(const std::filesystem::path& path) {
  const Activity activity("read", path);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) throw_read_error(path, errno);
  std::string content;
  char block[65536];
  for (;;) {
    const ssize_t count = ::read(file.get(), block, sizeof block);
    if (count < 0) {
      if (errno == EINTR) continue;
      throw_read_error(path, errno);
    }
    if (count == 0) return content;
    note_progress();
    content.append(block, static_cast<std::size_t>(count));
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  const Activity activity("write", path);
  const std::filesystem::path partial = path.string() + ".partial";
  Descriptor file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file) throw_write_error(partial, "create", errno);
  int error = write_all(file.get(), content);
  if (error == 0 && ::fsync(file.get()) != 0) error = errno;
  // Some file systems report a failed write only here.
  if (const int closing = file.close(); error == 0) error = closing;
  if (error == 0 && ::rename(partial.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(partial.c_str());
    throw_write_error(path, "write", error);
  }
  sync_directory(path.parent_path());
}

void make_directories(const std::filesystem::path& path) {
  const Activity activity("mkdir", path);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw_write_error(path, "create the directory", error.value());
}

void sync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? "." : directory;
  const Activity activity("fsync", path);
  const Descriptor opened(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened) throw_write_error(path, "open", errno);
  // Some network file systems have nothing to synchronise for a directory and say so with EINVAL.
  if (::fsync(opened.get()) != 0 && errno != EINVAL) throw_write_error(path, "synchronise", errno);
}

}  // namespace headroom
