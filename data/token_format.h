// Headroom's own token file, byte for byte (docs/corpus-format.md): what the writer puts down and the reader checks.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace headroom {

inline constexpr std::string_view kTokenMagic = "HRTOKENS";
inline constexpr std::uint32_t kTokenVersion = 1;

// The first 64 bytes, little-endian. Then the tokens, zeros up to a multiple of 8 bytes, and the documents' first
// tokens (u64 each, increasing, the first 0). Nothing follows.
struct TokenHeader {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t token_bytes;  // 2 or 4
  std::uint64_t vocab_size;
  std::uint64_t token_count;
  std::uint64_t document_count;
  std::array<char, 16> tokenizer_fingerprint;  // hex digits
  std::uint64_t checksum;                      // XXH64, seed 0, of the 56 bytes before it
};
static_assert(sizeof(TokenHeader) == 64);

inline constexpr std::uint32_t token_bytes_for(std::uint64_t vocab_size) {
  return vocab_size <= 65536 ? 2 : 4;
}

}  // namespace headroom
