#include "data/utf8.h"

#include <cstdint>
#include <cstring>

namespace headroom {
namespace {

// Whether eight bytes are all ASCII.
bool ascii8(const char* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return (word & 0x8080808080808080u) == 0;
}

struct Character {
  std::size_t length;  // bytes of a valid character, or of the maximal part that begins like one
  bool valid;
};

// Looks at the character that begins at `at`.
Character character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return {1, true};
  std::size_t length;
  unsigned low = 0x80, high = 0xBF;  // what the second byte may be
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i >= text.size() || byte(at + i) < low || byte(at + i) > high) return {i, false};
    low = 0x80, high = 0xBF;
  }
  return {length, true};
}

}  // namespace

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size() && ascii8(text.data() + at)) {
      at += 8;
      continue;
    }
    const Character next = character(text, at);
    if (!next.valid) return at;
    at += next.length;
  }
  return at;
}

Utf8Repair append_valid_utf8(std::string_view text, std::string& out) {
  Utf8Repair repair;
  std::size_t at = 0;
  for (;;) {
    const std::size_t valid = valid_utf8_prefix(text.substr(at));
    out.append(text.substr(at, valid));
    at += valid;
    if (at == text.size()) return repair;
    if (repair.replaced++ == 0) repair.first = at;
    out.append("\xEF\xBF\xBD");
    at += character(text, at).length;
  }
}

std::size_t utf8_boundary(std::string_view text, std::size_t limit) {
  if (limit >= text.size()) return text.size();
  for (std::size_t back = 0; back < 4 && back < limit; ++back) {
    if ((static_cast<unsigned char>(text[limit - back]) & 0xC0) != 0x80) return limit - back;
  }
  return limit;
}

}  // namespace headroom
