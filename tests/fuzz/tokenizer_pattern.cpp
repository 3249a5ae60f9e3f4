// A pattern of a tokenizer.json and a text, parted as text_parts parts them. Both are made valid UTF-8 first, as JSON
// and Tokenizer see to it that they are.
#include "data/tokenizer/pattern.h"
#include "data/utf8.h"
#include "tests/fuzz/target.h"

namespace headroom::fuzz {
namespace {

std::string valid(const std::string& text) {
  std::string out;
  append_valid_utf8(text, out);
  return out;
}

// What is found covers the text, in order, and cuts no character.
void check(const Pattern& pattern, const std::string& text) {
  std::vector<Stretch> stretches;
  pattern.stretches(text, stretches);
  std::size_t covered = 0;
  for (const Stretch& stretch : stretches) {
    HEADROOM_CHECK(stretch.begin == covered && stretch.begin <= stretch.end, "[{}, {}) after {}", stretch.begin,
                   stretch.end, covered);
    HEADROOM_CHECK(utf8_boundary(text, stretch.end) == stretch.end, "a character is cut at byte {}", stretch.end);
    HEADROOM_CHECK(stretch.match || stretch.begin < stretch.end, "nothing at {}, and no match", stretch.begin);
    covered = stretch.end;
  }
  HEADROOM_CHECK(covered == text.size(), "{} of {} bytes are covered", covered, text.size());
}

void drive(std::string_view bytes) {
  const std::vector<std::string> parts = text_parts(bytes, 2);
  const std::string text = valid(parts[1]);
  check(Pattern::literal(valid(parts[0]), "fuzz"), text);
  check(Pattern::regex(valid(parts[0]), "fuzz"), text);
}

const Registration kRegistered({"tokenizer_pattern", {ExitCode::bad_data}, drive});

}  // namespace
}  // namespace headroom::fuzz
