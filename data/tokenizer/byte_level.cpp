#include "data/tokenizer/byte_level.h"

#include <array>

#include "data/tokenizer/characters.h"

namespace headroom {
namespace {

struct Alphabet {
  std::array<char16_t, 256> character{};
  std::array<std::int16_t, 324> byte{};  // -1 for none

  constexpr Alphabet() {
    for (std::int16_t& b : byte) b = -1;
    char16_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      const char16_t code = itself ? static_cast<char16_t>(b) : next++;
      character[static_cast<std::size_t>(b)] = code;
      byte[code] = static_cast<std::int16_t>(b);
    }
  }
};
constexpr Alphabet kAlphabet;

// Writes at most twice the text's bytes.
char* write(std::string_view text, char* out) {
  for (const char c : text) {
    const char16_t code = kAlphabet.character[static_cast<unsigned char>(c)];
    if (code < 0x80) {
      *out++ = static_cast<char>(code);
    } else {
      *out++ = static_cast<char>(0xC0 | code >> 6);
      *out++ = static_cast<char>(0x80 | (code & 0x3F));
    }
  }
  return out;
}

}  // namespace

std::string to_byte_level(std::string_view text) {
  std::string out(2 * text.size(), '\0');
  out.resize(static_cast<std::size_t>(write(text, out.data()) - out.data()));
  return out;
}

std::string_view to_byte_level(std::string_view text, TextArena& arena) {
  char* const begin = arena.take(2 * text.size());
  const auto written = static_cast<std::size_t>(write(text, begin) - begin);
  arena.give_back(2 * text.size() - written);
  return {begin, written};
}

std::optional<std::string> from_byte_level(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character character = utf8_character(text, at);
    if (character.code >= kAlphabet.byte.size() || kAlphabet.byte[character.code] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[character.code]);
    at += character.length;
  }
  return bytes;
}

}  // namespace headroom
