// UTF-8 made valid: text files are full of stray Latin-1, and a tokenizer must never see half a character.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace headroom {

// Length of the longest valid UTF-8 prefix of `text` (all of it when valid). Overlong forms, surrogates and code points
// beyond U+10FFFF are invalid (Unicode 15, table 3-7).
std::size_t valid_utf8_prefix(std::string_view text);

struct Utf8Repair {
  std::size_t replaced = 0;  // maximal invalid parts that became U+FFFD
  std::size_t first = 0;     // byte position of the first of them
};

// Appends `text` to `out`, each maximal invalid part replaced by one U+FFFD (Unicode's recommended practice).
Utf8Repair append_valid_utf8(std::string_view text, std::string& out);

// The largest position <= limit at which `text` can be cut without cutting a character (limit itself when the bytes
// there are no UTF-8 at all).
std::size_t utf8_boundary(std::string_view text, std::size_t limit);

}  // namespace headroom
