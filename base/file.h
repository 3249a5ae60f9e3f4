// Whole files and directories, so that a crash or a full disk never leaves half a file under a good name, and every
// error is noticed and named.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

namespace headroom {

// A file that could not be written.
class WriteError : public Error {
 public:
  WriteError(const std::string& message, std::string hint, int number)
      : Error(ExitCode::disk_full, message, std::move(hint)), number_(number) {}
  // No space left, or a quota used up.
  bool full() const;

 private:
  int number_;  // errno's
};

// Throws a WriteError, ExitCode::disk_full, naming the path, what was being done ("write", "create") and the system's
// reason. Whatever the reason, what cannot write has the same remedy: space, permission or another place.
[[noreturn]] void throw_write_error(const std::filesystem::path& path, std::string_view action, int error_number);

// Throws ExitCode::bad_data naming the path and the system's reason.
[[noreturn]] void throw_read_error(const std::filesystem::path& path, int error_number);

// The whole of a file. Throws ExitCode::bad_data when it is missing or unreadable.
std::string read_file(const std::filesystem::path& path);

// Writes PATH.partial, synchronises it with the disk and renames it to `path`: readers see the old file or the whole
// new one. Throws ExitCode::disk_full; then the old file, if any, is as it was and the partial one is gone.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

// Creates the directory and its parents where missing. Throws ExitCode::disk_full.
void make_directories(const std::filesystem::path& path);

// Makes a rename or a new name in the directory survive a power failure. Throws ExitCode::disk_full.
void sync_directory(const std::filesystem::path& directory);

}  // namespace headroom
