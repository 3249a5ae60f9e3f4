// Files that are written so that a crash or a full disk never leaves half a file under a good name, and every error
// is noticed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace headroom {

// Throws ExitCode::disk_full naming the path, what was being done ("write", "create") and the system's reason. Whatever
// the reason, a run that cannot write has the same remedy: space, permission or another place.
[[noreturn]] void throw_write_error(const std::filesystem::path& path, std::string_view action, int error_number);

// Writes PATH.partial, synchronises it with the disk and renames it to `path`: readers see the old file or the whole
// new one. Throws ExitCode::disk_full; then the old file, if any, is as it was and the partial one is gone.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

// Creates the directory and its parents where missing. Throws ExitCode::disk_full.
void make_directories(const std::filesystem::path& path);

// Makes a rename or a new name in the directory survive a power failure. Throws ExitCode::disk_full.
void sync_directory(const std::filesystem::path& directory);

// A file that grows by whole records.
class AppendFile {
 public:
  // Opens for appending, creating it when missing. Throws ExitCode::disk_full.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;

  // Hands the record to the operating system; other processes see it at once. Throws ExitCode::disk_full, and then
  // nothing of the record is in the file.
  void append(std::string_view record);

  // Waits until everything appended is on the disk. Throws ExitCode::disk_full.
  void sync();

  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void close() noexcept;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace headroom
