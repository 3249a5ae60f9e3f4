#include "data/tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <optional>
#include <utility>

#include "base/error.h"
#include "data/tokenizer/characters.h"
#include "data/tokenizer/pattern_dialect.h"
#include "data/tokenizer/unicode_versions.h"

namespace headroom {
namespace {

constexpr std::size_t kLongestPattern = std::size_t{1} << 16;
constexpr std::uint32_t kDeepestParentheses = 100;
constexpr std::uint32_t kMatchSteps = 10'000'000;
constexpr std::uint32_t kHeapKib = 64 * 1024;  // of the interpreter, which takes over where the compiled form gives up
constexpr std::size_t kJitStack = std::size_t{1} << 20;

// The class \w of Rust's `regex` (Unicode Technical Standard 18, annex C).
constexpr const char* kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";

struct Free {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};
template <typename T>
using Handle = std::unique_ptr<T, Free>;

template <typename T>
Handle<T> checked(T* created) {
  if (created == nullptr) throw Error(ExitCode::out_of_memory, "no memory to match a tokenizer's patterns");
  return Handle<T>(created);
}

// What matching needs beside the pattern; one a thread serves all patterns.
struct Matcher {
  Handle<pcre2_match_data> data = checked(pcre2_match_data_create(1, nullptr));
  Handle<pcre2_match_context> context = checked(pcre2_match_context_create(nullptr));
  Handle<pcre2_jit_stack> stack = checked(pcre2_jit_stack_create(32 * 1024, kJitStack, nullptr));
  std::string older;  // the text with young characters replaced

  Matcher() {
    pcre2_set_match_limit(context.get(), kMatchSteps);
    pcre2_set_heap_limit(context.get(), kHeapKib);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

Matcher& this_threads_matcher() {
  thread_local Matcher matcher;
  return matcher;
}

std::string message_of(int error) {
  std::string text(256, '\0');
  const int length = pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text.data()), text.size());
  return length > 0 ? text.substr(0, static_cast<std::size_t>(length)) : fmt::format("PCRE2 error {}", error);
}

std::string shortened(std::string_view pattern) {
  std::size_t end = 60;
  if (pattern.size() <= end) return std::string(pattern);
  while (end > 0 && (static_cast<unsigned char>(pattern[end]) & 0xC0) == 0x80) --end;
  return std::string(pattern.substr(0, end)) + "...";
}

// The text with every character that PCRE2's tables may not know replaced by an older one like it, of the same length;
// the text itself when it has none.
std::string_view with_older_characters(std::string_view text, std::string& buffer) {
  bool copied = false;
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0xE0) {  // the youngest take three bytes and more
      ++at;
      continue;
    }
    const Utf8Character character = utf8_character(text, at);
    const char32_t older = older_alike(character.code);
    if (older != character.code) {
      if (!std::exchange(copied, true)) buffer = text;
      std::string bytes;
      append_utf8(older, bytes);
      buffer.replace(at, character.length, bytes);
    }
    at += character.length;
  }
  return copied ? std::string_view(buffer) : text;
}

}  // namespace

struct Pattern::Implementation {
  Handle<pcre2_code> code;
  bool for_older_characters = true;
  std::string place;
  std::string shown;

  std::optional<std::pair<std::size_t, std::size_t>> find(std::string_view text, std::size_t from,
                                                          Matcher& matcher) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int result = pcre2_match(code.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, matcher.data.get(),
                             matcher.context.get());
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = pcre2_match(code.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                           matcher.data.get(), matcher.context.get());
    }
    if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (result < 0) {
      throw Error(ExitCode::bad_data,
                  fmt::format("{}: the pattern '{}' gives up on a text of {} bytes at byte {}: {}", place,
                              shortened(shown), text.size(), from, message_of(result)),
                  "The pattern takes time or memory out of proportion; no published tokenizer's does.");
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(matcher.data.get());
    return std::pair{ends[0], ends[1]};
  }
};

Pattern::Pattern() : implementation_(std::make_unique<Implementation>()) {}
Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

Pattern Pattern::regex(std::string_view oniguruma, const std::string& place) {
  try {
    return compile(to_pcre2(oniguruma), oniguruma, place);
  } catch (const PatternRefused& refused) {
    throw Error(ExitCode::bad_data,
                fmt::format("{}: the pattern '{}' is not supported: {}, at its byte {}", place, shortened(oniguruma),
                            refused.what(), refused.position()),
                "docs/tokenizers.md says which patterns are read.");
  }
}

Pattern Pattern::literal(std::string_view text, const std::string& place) {
  return compile({quoted_for_pcre2(text), false}, text, place);
}

Pattern Pattern::words_and_others() {
  return compile({fmt::format("[{0}]+|[^{0}\\p{{White_Space}}]+", kWord), true}, "\\w+|[^\\w\\s]+", "Whitespace");
}

Pattern Pattern::word_character() {
  return compile({fmt::format("[{}]", kWord), true}, "\\w", "single_word");
}

Pattern Pattern::compile(const TranslatedPattern& translated, std::string_view shown, const std::string& place) {
  const std::string& pcre2 = translated.pcre2;
  if (pcre2.size() > kLongestPattern) {
    throw Error(ExitCode::bad_data,
                fmt::format("{}: a pattern of {} bytes, at most {} are read", place, shown.size(), kLongestPattern));
  }
  const auto context = checked(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), kDeepestParentheses);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Pattern pattern;
  Implementation& self = *pattern.implementation_;
  self.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pcre2.data()), pcre2.size(),
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                                context.get()));
  if (self.code == nullptr) {
    throw Error(ExitCode::bad_data,
                fmt::format("{}: the pattern '{}' does not compile: {}", place, shortened(shown), message_of(error)));
  }
  pcre2_jit_compile(self.code.get(), PCRE2_JIT_COMPLETE);  // where it cannot, the interpreter matches
  self.for_older_characters = translated.for_older_characters;
  self.place = place;
  self.shown = shown;
  return pattern;
}

void Pattern::stretches(std::string_view text, std::vector<Stretch>& out) const {
  if (text.empty()) return;
  Matcher& matcher = this_threads_matcher();
  const std::string_view subject =
      implementation_->for_older_characters ? with_older_characters(text, matcher.older) : text;
  std::size_t covered = 0;
  std::optional<std::size_t> last_end;
  for (std::size_t from = 0; from <= text.size();) {
    const auto found = implementation_->find(subject, from, matcher);
    if (!found) break;
    const auto [begin, end] = *found;
    if (begin == end && last_end == end) {  // nothing, where a match has just ended
      if (from == text.size()) break;
      from += utf8_character(text, from).length;
      continue;
    }
    if (covered != begin) out.push_back({covered, begin, false});
    out.push_back({begin, end, true});
    covered = from = end;
    last_end = end;
  }
  if (covered != text.size()) out.push_back({covered, text.size(), false});
}

}  // namespace headroom
