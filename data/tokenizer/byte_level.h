// GPT-2's alphabet: each byte written as one printable character, so that a vocabulary of texts can hold any bytes.
// Printable ASCII and Latin-1 stand for themselves, the 68 others for U+0100 on (a blank: U+0120).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "data/tokenizer/pieces.h"

namespace headroom {

// The bytes of `text`, each as its character.
std::string to_byte_level(std::string_view text);
// The same, in the arena.
std::string_view to_byte_level(std::string_view text, TextArena& arena);

// The bytes that `text` (valid UTF-8) is written for; none when it has a character of no byte.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace headroom
