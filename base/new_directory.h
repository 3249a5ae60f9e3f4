// A directory that appears whole or not at all.
#pragma once

#include <filesystem>

namespace headroom {

// DIRECTORY.partial, which becomes DIRECTORY when all is in it and goes when that is never said.
class NewDirectory {
 public:
  // Makes DIRECTORY.partial, with parents; one that somebody killed has left goes. Throws ExitCode::usage where
  // DIRECTORY exists, ExitCode::disk_full.
  explicit NewDirectory(const std::filesystem::path& target);
  ~NewDirectory();
  NewDirectory(const NewDirectory&) = delete;
  NewDirectory& operator=(const NewDirectory&) = delete;

  // DIRECTORY.partial.
  const std::filesystem::path& path() const { return partial_; }

  // Gives it its name. Throws ExitCode::disk_full.
  void publish();

 private:
  std::filesystem::path target_;
  std::filesystem::path partial_;
  bool published_ = false;
};

}  // namespace headroom
