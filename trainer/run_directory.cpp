#include "trainer/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/system.h"

namespace headroom {
namespace {

// Who holds a lock, as its file says; the holder may be writing it just now.
std::string holder(const std::filesystem::path& lock_file) {
  std::ifstream stream(lock_file);
  std::string line;
  return std::getline(stream, line) && !line.empty() ? line : "another process";
}

}  // namespace

RunDirectory RunDirectory::own(const std::filesystem::path& path) {
  RunDirectory directory(path);
  make_directories(path);
  directory.lock();
  for (const auto& folder : {directory.logs(), directory.tensorboard(), directory.snapshots(), directory.checkpoints(),
                             directory.report()}) {
    make_directories(folder);
  }
  return directory;
}

RunDirectory RunDirectory::join(const std::filesystem::path& path) {
  return RunDirectory(path);
}

RunDirectory::~RunDirectory() {
  if (lock_ >= 0) ::close(lock_);  // gives the lock back
}

RunDirectory::RunDirectory(RunDirectory&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

void RunDirectory::lock() {
  const std::filesystem::path file = path_ / "lock";
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) throw_write_error(file, "open", errno);
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      throw Error(ExitCode::busy, fmt::format("run directory '{}' is in use by {}", path_.string(), holder(file)),
                  "Wait for that run to end or stop it, or give this one another name (--set name=...).");
    }
    throw_write_error(file, "lock", errno);
  }
  const std::string line = fmt::format("process {} on host {}, started {}\n", ::getpid(), host_name(), local_time());
  if (::ftruncate(lock_, 0) != 0) throw_write_error(file, "empty", errno);
  if (::pwrite(lock_, line.data(), line.size(), 0) != static_cast<ssize_t>(line.size())) {
    throw_write_error(file, "write", errno);
  }
}

}  // namespace headroom
