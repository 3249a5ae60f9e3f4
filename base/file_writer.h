// A large file written from front to back through a buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/descriptor.h"

namespace headroom {

// Errors throw ExitCode::disk_full naming the file. A writer that is destroyed without `close` leaves an unfinished
// file behind: write into a directory or name that is renamed at the end.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);

  void write(const void* data, std::size_t bytes);
  // Overwrites bytes at the front, which must have been written before (a header known only at the end).
  void write_at_front(const void* data, std::size_t bytes);
  std::uint64_t written() const { return written_; }
  // Flushes, synchronises with the disk and closes.
  void close();

 private:
  void flush();
  void put(const void* data, std::size_t bytes);

  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t written_ = 0;
  std::string buffer_;
};

}  // namespace headroom
