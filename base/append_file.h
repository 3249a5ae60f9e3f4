// A file that grows by whole records: a log of metrics, a stream of events.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/descriptor.h"

namespace headroom {

class AppendFile {
 public:
  // Opens for appending, creating it when missing. Throws ExitCode::disk_full.
  explicit AppendFile(std::filesystem::path path);

  // Hands the record to the operating system; other processes see it at once. Throws ExitCode::disk_full, and then
  // nothing of the record is in the file.
  void append(std::string_view record);

  // Waits until everything appended is on the disk. Throws ExitCode::disk_full.
  void sync();

  std::uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t size_ = 0;
};

}  // namespace headroom
