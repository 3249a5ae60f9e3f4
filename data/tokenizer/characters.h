// What the `tokenizers` library takes for a number, punctuation or white space, character by character.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace headroom {

// A character of valid UTF-8 and its length in bytes.
struct Utf8Character {
  char32_t code;
  std::size_t length;
};
// The one that begins at `at`, which must lie in valid UTF-8.
Utf8Character utf8_character(std::string_view text, std::size_t at);
void append_utf8(char32_t code, std::string& out);

bool is_letter(char32_t code);       // general category L, up to utf8proc's Unicode
bool is_mark(char32_t code);         // general category M, up to utf8proc's Unicode
bool is_number(char32_t code);       // general category N, as Rust's char::is_numeric (Unicode 17)
bool is_punctuation(char32_t code);  // ASCII's, "$+<=>^`|~" among them, and general category P up to Unicode 7
bool is_white_space(char32_t code);  // property White_Space
// In full and without context, as Rust's char::to_lowercase (Unicode 17).
void append_lowercase(char32_t code, std::string& out);

}  // namespace headroom
