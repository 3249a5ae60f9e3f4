#include "data/tokenizer/unicode_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "data/tokenizer/characters.h"
#include "data/tokenizer/unicode_versions.h"

namespace headroom {
namespace {

utf8proc_option_t options_of(UnicodeForm form) {
  unsigned options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::nfc || form == UnicodeForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::nfkc || form == UnicodeForm::nfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

void append_normalized(UnicodeForm form, std::string_view text, std::string& out) {
  if (text.empty()) return;
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                               static_cast<utf8proc_ssize_t>(text.size()), &made, options_of(form));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(made, std::free);
  if (length == UTF8PROC_ERROR_NOMEM) throw Error(ExitCode::out_of_memory, "no memory to normalise a text");
  HEADROOM_CHECK(length >= 0, "utf8proc cannot normalise {} bytes: {}", text.size(), utf8proc_errmsg(length));
  out.append(reinterpret_cast<const char*>(made), static_cast<std::size_t>(length));
}

}  // namespace

void normalize(UnicodeForm form, std::string& text) {
  // Nothing changes in ASCII, nor below U+0300 (0xCC 0x80) where only marks would compose.
  const unsigned char changes_from = form == UnicodeForm::nfc ? 0xCC : 0x80;
  const auto may_change = [&](char c) { return static_cast<unsigned char>(c) >= changes_from; };
  if (std::none_of(text.begin(), text.end(), may_change)) return;
  // What the library does not know is a starter to it: what stands before and after does not meet across it.
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character character = utf8_character(text, at);
    if (character.code >= 0x7FD && is_young_for_normalization(character.code)) {
      append_normalized(form, std::string_view(text).substr(done, at - done), out);
      out.append(text, at, character.length);
      done = at + character.length;
    }
    at += character.length;
  }
  append_normalized(form, std::string_view(text).substr(done), out);
  text = std::move(out);
}

}  // namespace headroom
