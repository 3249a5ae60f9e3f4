#include "data/word_cut.h"

#include "data/tokenizer/characters.h"

namespace headroom {

std::size_t last_word_cut(std::string_view text) {
  for (std::size_t blank = text.rfind(' '); blank != std::string_view::npos && blank > 0;
       blank = text.rfind(' ', blank - 1)) {
    if (blank + 1 == text.size() || !is_letter(utf8_character(text, blank + 1).code)) continue;
    std::size_t before = blank - 1;
    while (before > 0 && (static_cast<unsigned char>(text[before]) & 0xC0) == 0x80) --before;
    if (is_letter(utf8_character(text, before).code)) return blank;
  }
  return text.size();
}

}  // namespace headroom
