// A compiled pattern of a tokenizer.json, matched as the `tokenizers` library matches it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace headroom {

struct TranslatedPattern;

// A stretch of a text, in bytes, and whether the pattern matched it.
struct Stretch {
  std::size_t begin;
  std::size_t end;
  bool match;
};

class Pattern {
 public:
  // An Oniguruma pattern in valid UTF-8 (data/tokenizer/pattern_dialect.h). `place` names it in errors: file and key.
  // Throws ExitCode::bad_data when it does not compile, is not taken, or is too large.
  static Pattern regex(std::string_view oniguruma, const std::string& place);
  // Matches the text as it stands.
  static Pattern literal(std::string_view text, const std::string& place);
  // Words, and what is neither word nor white space: \w+|[^\w\s]+ as Rust's `regex` reads it (Unicode 16), which the
  // pre-tokenizer Whitespace cuts by.
  static Pattern words_and_others();
  // One character of a word: Rust's \w.
  static Pattern word_character();

  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // Appends stretches that cover `text` (valid UTF-8) without gaps, matches and what lies between them, in order. A
  // match may be empty, and two matches may follow one another. Nothing for an empty text. Safe to call from several
  // threads. Throws ExitCode::bad_data when matching takes more than ten million steps or too much memory.
  void stretches(std::string_view text, std::vector<Stretch>& out) const;

 private:
  Pattern();
  static Pattern compile(const TranslatedPattern& translated, std::string_view shown, const std::string& place);
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace headroom
