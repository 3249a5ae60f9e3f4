#include "data/tokenizer/characters.h"

#include <utf8proc.h>

#include "data/tokenizer/unicode_versions.h"

namespace headroom {
namespace {

// The first letter of the general category.
char category(char32_t code) {
  return utf8proc_category_string(static_cast<utf8proc_int32_t>(code))[0];
}

// Lower-case letters that utf8proc 2.8 (Unicode 15.0) does not know; 0 for all others.
char32_t young_lowercase(char32_t code) {
  if (code >= 0x10D50 && code <= 0x10D65) return code + 0x20;
  if (code >= 0x16EA0 && code <= 0x16EB8) return code + 0x1B;
  switch (code) {
    case 0x1C89:
    case 0xA7CC:
    case 0xA7CE:
    case 0xA7D2:
    case 0xA7D4:
    case 0xA7DA:
      return code + 1;
    case 0xA7CB:
      return 0x264;
    case 0xA7DC:
      return 0x19B;
    default:
      return 0;
  }
}

}  // namespace

Utf8Character utf8_character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

void append_utf8(char32_t code, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

bool is_letter(char32_t code) {
  return category(code) == 'L';
}

bool is_mark(char32_t code) {
  return category(code) == 'M';
}

bool is_number(char32_t code) {
  if (code < 0x80) return code >= '0' && code <= '9';
  return category(code) == 'N' || is_young_number(code);
}

bool is_punctuation(char32_t code) {
  if (code < 0x80)
    return code > ' ' && code < 0x7F && !(code >= '0' && code <= '9') &&
           !((code | 0x20) >= 'a' && (code | 0x20) <= 'z');
  if (code == 0x166D || code == 0x111C9) return true;  // were, until Unicode 12 and 11
  return category(code) == 'P' && !is_young_punctuation(code);
}

bool is_white_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == ' ' || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

void append_lowercase(char32_t code, std::string& out) {
  if (code == 0x130) {  // the one letter whose lower case is two
    out += "i\u0307";
    return;
  }
  const char32_t young = young_lowercase(code);
  append_utf8(young != 0 ? young : static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))), out);
}

}  // namespace headroom
