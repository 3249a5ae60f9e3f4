// Where versions of Unicode part ways. The `tokenizers` library asks four tables: its patterns' engine knows Unicode
// 16, its language 17, its normaliser 9, its punctuation 7; our libraries know 14 (PCRE2) and 15 (utf8proc). The same
// ids for the same text need the same answers, so what lies between is kept here. Newer libraries of ours change
// nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace headroom {

// An older character of the same general category, script (Han, Hiragana, Katakana or none of them) and length in
// UTF-8, for one that Unicode 15.0 to 16.0 added; any other character is its own. Patterns are matched against these.
char32_t older_alike(char32_t character);

// The characters that Unicode 15.0 to 16.0 added to a general category ("L", "Lu") or script ("Han"), as members of a
// class of PCRE2: "\x{a7cb}-\x{a7cd}...".
std::string young_members(std::string_view property);

// Numbers (Nd, Nl, No) that Unicode 15.1 to 17.0 added.
bool is_young_number(char32_t character);

// Punctuation that the library does not take for punctuation: younger than its table.
bool is_young_punctuation(char32_t character);

// Characters that the library's normaliser does not know: it takes them for starters that neither compose nor
// decompose.
bool is_young_for_normalization(char32_t character);

}  // namespace headroom
