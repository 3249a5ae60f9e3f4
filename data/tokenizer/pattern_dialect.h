// Patterns in a tokenizer.json are Oniguruma's (syntax ONIG_SYNTAX_ONIGURUMA, Unicode), ours are PCRE2's. Most of both
// reads alike; what reads differently is put into PCRE2's words here, and what is not known to mean the same is
// refused, so that no pattern quietly cuts a text at other places:
//   \s \S          property White_Space (PCRE2's \s has U+180E as well)
//   \p{Han}        the script (in PCRE2 the script extensions); of scripts only Han, Hiragana and Katakana are taken
//   ^ $            line begins and ends; $ not behind the last line break
//   a{1,3}+        (?:a{1,3})+, nothing possessive; a{,3} is a{0,3}
//   \uHHHH         a character
// Refused: \w \b \h \v \X \R and other letters that differ, back references, nested and intersected classes, options
// but
// (?i: and a leading (?i), callouts, conditions.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace headroom {

// What of a pattern cannot be taken: words for people, and the byte of the pattern where it stands.
class PatternRefused : public std::runtime_error {
 public:
  PatternRefused(const std::string& what, std::size_t position) : std::runtime_error(what), position_(position) {}
  std::size_t position() const { return position_; }

 private:
  std::size_t position_;
};

struct TranslatedPattern {
  std::string pcre2;  // for PCRE2_UTF, PCRE2_UCP and PCRE2_MULTILINE
  // Young characters (data/tokenizer/unicode_versions.h) of a text are to be replaced by older ones like them. A
  // pattern that names characters itself sees the text as it is, and has the young ones written into its properties.
  bool for_older_characters = true;
};

// Of valid UTF-8. Brackets are not checked to pair: PCRE2 does that. Throws PatternRefused.
TranslatedPattern to_pcre2(std::string_view pattern);

// A pattern that matches the text as it stands.
std::string quoted_for_pcre2(std::string_view text);

}  // namespace headroom
