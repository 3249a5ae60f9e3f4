#include "base/new_directory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/system.h"

namespace headroom {

namespace fs = std::filesystem;

namespace {

// Directories whose names go on behind `stem` with a process that there is no more.
void remove_left(const fs::path& parent, const std::string& stem) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(stem)) continue;
    pid_t process = 0;
    const char* const end = name.data() + name.size();
    const auto [stopped, wrong] = std::from_chars(name.data() + stem.size(), end, process);
    const bool gone =
        wrong == std::errc() && stopped == end && process > 0 && ::kill(process, 0) != 0 && errno == ESRCH;
    std::error_code still_there;  // is only a pity
    if (gone) fs::remove_all(entry.path(), still_there);
  }
}

}  // namespace

NewDirectory::NewDirectory(const fs::path& target) : target_(target.has_filename() ? target : target.parent_path()) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(target_, error))) {
    throw Error(ExitCode::usage, fmt::format("'{}' exists already", target_.string()), "Name a directory to be made.");
  }
  const fs::path parent = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  const std::string stem = fmt::format(".{}.partial-{}-", target_.filename().string(), host_name());
  remove_left(parent, stem);
  partial_ = parent / fmt::format("{}{}", stem, ::getpid());
  make_directories(partial_);
}

NewDirectory::~NewDirectory() {
  std::error_code error;
  if (!published_) fs::remove_all(partial_, error);
}

void NewDirectory::publish() {
  sync_directory(partial_);
  std::error_code error;
  fs::rename(partial_, target_, error);
  if (error) throw_write_error(target_, "rename", error.value());
  published_ = true;
  sync_directory(partial_.parent_path());
}

}  // namespace headroom
