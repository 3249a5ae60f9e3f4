#include "base/new_directory.h"

#include <fmt/format.h>

#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace headroom {

namespace fs = std::filesystem;

NewDirectory::NewDirectory(const fs::path& target) : target_(target.has_filename() ? target : target.parent_path()) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(target_, error))) {
    throw Error(ExitCode::usage, fmt::format("'{}' exists already", target_.string()), "Name a directory to be made.");
  }
  partial_ = target_;
  partial_ += ".partial";
  fs::remove_all(partial_, error);
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
  const fs::path parent = target_.parent_path();
  sync_directory(parent.empty() ? fs::path(".") : parent);
}

}  // namespace headroom
