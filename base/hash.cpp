#include "base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace headroom {

std::string hex_digits(std::uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

std::uint64_t hash_of(std::span<const std::byte> bytes) {
  return XXH64(bytes.data(), bytes.size(), 0);
}

std::string hex_hash(std::string_view content) {
  return hex_digits(XXH64(content.data(), content.size(), 0));
}

}  // namespace headroom
