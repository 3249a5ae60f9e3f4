// Fingerprints of what a file holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace headroom {

// 16 hex digits, as every fingerprint is written.
std::string hex_digits(std::uint64_t hash);

// xxHash64 (seed 0).
std::uint64_t hash_of(std::span<const std::byte> bytes);

// xxHash64 (seed 0) of what comes piece by piece.
class RunningHash {
 public:
  RunningHash();
  ~RunningHash();
  RunningHash(const RunningHash&) = delete;
  RunningHash& operator=(const RunningHash&) = delete;

  void add(std::string_view piece);
  std::uint64_t bytes() const { return bytes_; }  // so far
  std::string digits() const;                     // of them, 16 hex digits

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::uint64_t bytes_ = 0;
};

// xxHash64 (seed 0) as 16 hex digits.
std::string hex_hash(std::string_view content);

}  // namespace headroom
