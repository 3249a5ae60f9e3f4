// A directory that appears whole or not at all.
#pragma once

#include <filesystem>

namespace headroom {

// A directory beside DIRECTORY, .DIRECTORY.partial-HOST-PID, which becomes DIRECTORY when all is in it and goes when
// that is never said.
class NewDirectory {
 public:
  // Makes it, with parents. What processes of this machine have left of the same DIRECTORY when they were killed goes.
  // Throws ExitCode::usage where DIRECTORY exists, ExitCode::disk_full.
  explicit NewDirectory(const std::filesystem::path& target);
  ~NewDirectory();
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;

  // Where everything is to be written.
  const std::filesystem::path& path() const { return partial_; }

  // Gives it its name. Throws ExitCode::disk_full.
  void publish();

 private:
  std::filesystem::path target_;
  std::filesystem::path partial_;
  bool published_ = false;
};

}  // namespace headroom
