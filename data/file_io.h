// Files as the corpus code needs them: read through a memory map, written in order with every error noticed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace headroom {

// A whole file mapped for reading; unmapped with the object. The file must not shrink while it is mapped.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws ExitCode::bad_data naming the file when it is missing, no regular file, unreadable or empty.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::size_t size() const { return size_; }

  // A little-endian value at a byte offset, which need not be aligned. The caller has checked the bounds.
  template <typename T>
  T load(std::size_t offset) const {
    T value;
    __builtin_memcpy(&value, data_ + offset, sizeof(T));
    return value;
  }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// A file written from front to back through a buffer. Errors throw ExitCode::disk_full naming the file. A writer that
// is destroyed without `close` leaves an unfinished file behind: write into a directory or name that is renamed at the
// end.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;

  void write(const void* data, std::size_t bytes);
  // Overwrites bytes at the front, which must have been written before (a header known only at the end).
  void write_at_front(const void* data, std::size_t bytes);
  std::uint64_t written() const { return written_; }
  // Flushes, synchronises with the disk and closes.
  void close();

 private:
  void flush();
  void put(const std::byte* data, std::size_t bytes);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t written_ = 0;
  std::string buffer_;
};

// The whole of a small file. Throws ExitCode::bad_data naming the file when it is missing or unreadable.
std::string read_file(const std::filesystem::path& path);

// Writes a small file beside and renames it into place.
void write_file(const std::filesystem::path& path, std::string_view content);

// xxHash64 as 16 hex digits.
std::string hex_hash(std::string_view content);

}  // namespace headroom
