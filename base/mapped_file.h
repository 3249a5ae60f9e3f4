// A whole file mapped for reading.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace headroom {

// Unmapped with the object. The file must not shrink while it is mapped.
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

}  // namespace headroom
