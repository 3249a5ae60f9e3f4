// Fingerprints of what a file holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace headroom {

// 16 hex digits, as every fingerprint is written.
std::string hex_digits(std::uint64_t hash);

// xxHash64 (seed 0).
std::uint64_t hash_of(std::span<const std::byte> bytes);

// xxHash64 (seed 0) as 16 hex digits.
std::string hex_hash(std::string_view content);

}  // namespace headroom
