// Cutting pieces where something matches: the behaviours of the `tokenizers` library.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/tokenizer/characters.h"
#include "data/tokenizer/json_node.h"
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/pieces.h"

namespace headroom {

// What becomes of a match.
enum class SplitBehavior : std::uint8_t {
  isolated,              // a piece of its own
  removed,               // dropped
  contiguous,            // matches in a row are one piece
  merged_with_previous,  // ends the piece before it
  merged_with_next,      // begins the piece after it
};

// "Isolated", "MergedWithPrevious", ...
SplitBehavior split_behavior(const JsonNode& node);

// Appends to pieces.next what `piece` is cut into; `stretches` cover it and are changed.
void add_split(const Piece& piece, std::vector<Stretch>& stretches, SplitBehavior behavior, Pieces& pieces);

// Appends a stretch for every character of `text` for which `matches(code)` holds, and for what lies between them.
template <typename Matches>
void character_stretches(std::string_view text, const Matches& matches, std::vector<Stretch>& out) {
  std::size_t covered = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character character = utf8_character(text, at);
    if (matches(character.code)) {
      if (covered != at) out.push_back({covered, at, false});
      out.push_back({at, at + character.length, true});
      covered = at + character.length;
    }
    at += character.length;
  }
  if (covered != text.size()) out.push_back({covered, text.size(), false});
}

}  // namespace headroom
