// "Did you mean ...?": the nearest of a set of known words, for misspelt verbs, keys and choices.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace headroom {

// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other (the restricted
// Damerau-Levenshtein distance).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, or an empty string when none is near enough to be a likely slip (more than about a
// third of the longer word differs). The first wins a tie.
std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace headroom
