// A file that grows by whole records: a log of metrics, a stream of events.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/descriptor.h"

namespace headroom {

class AppendFile {
 public:
  // Opens for appending, creating it when missing. Throws ExitCode::disk_full.
  explicit AppendFile(std::filesystem::path path);

  // Hands the record to the operating system; other processes see it at once. Throws ExitCode::disk_full, also when
  // the path has come to name another file or none; then nothing of the record is in the file. Where even taking back
  // half a record fails, the error says so, and the next append begins with it.
  void append(std::string_view record);

  // Cuts the file back to `size` bytes. Throws ExitCode::disk_full.
  void cut(std::uint64_t size);

  // Waits until everything appended is on the disk. Throws ExitCode::disk_full.
  void sync();

  // Whether the path still names this file: it may have been removed, moved or replaced, or its disk be gone.
  bool in_place() const;

  // As the file system has it, whoever wrote it. Throws ExitCode::disk_full.
  std::uint64_t size() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  Descriptor file_;
  std::optional<std::uint64_t> half_;  // behind this size lies half a record
};

}  // namespace headroom
