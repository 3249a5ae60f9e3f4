#include "analysis/evaluation/text_encoding.h"

#include <algorithm>

namespace headroom::evaluation {
namespace {

bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

// Of one whole character of valid UTF-8; any other bytes give a number that is no white space.
char32_t code_point(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(character[i])); };
  switch (character.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1FU) << 6U | (byte(1) & 0x3FU);
    case 3:
      return (byte(0) & 0x0FU) << 12U | (byte(1) & 0x3FU) << 6U | (byte(2) & 0x3FU);
    default:
      return 0xFFFD;
  }
}

// Python's str.isspace of one character.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace

std::string_view name_of(SpecialTokens special) {
  switch (special) {
    case SpecialTokens::convention:
      return "convention";
    case SpecialTokens::bos:
      return "bos";
    case SpecialTokens::none:
      break;
  }
  return "none";
}

std::vector<std::int32_t> TextEncoding::before() const {
  switch (special_) {
    case SpecialTokens::convention:
      return tokenizer_.before();
    case SpecialTokens::bos:
      return {tokenizer_.bos()};
    case SpecialTokens::none:
      break;
  }
  return {};
}

std::size_t trailing_space(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && continues_character(text[begin])) --begin;
    if (!is_space(code_point(text.substr(begin, end - begin)))) break;
    end = begin;
  }
  return end;
}

std::int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return !continues_character(byte); });
}

TextEncoding::TextEncoding(const Tokenizer& tokenizer, SpecialTokens special)
    : tokenizer_(tokenizer),
      special_(special),
      prefix_(special == SpecialTokens::bos || tokenizer.has_bos() ? tokenizer.bos() : tokenizer.eos()) {
  if (prefix_) prefix_text_ = tokenizer.decode({*prefix_});
}

TextEncoding::Marked TextEncoding::marked(std::string_view text) const {
  const bool has_it = !prefix_text_.empty() && text.starts_with(prefix_text_);
  if (special_ == SpecialTokens::none || has_it) return {tokenizer_.encode(text)};
  if (special_ == SpecialTokens::convention) {
    return {tokenizer_.encode_with_special(text), tokenizer_.before().size(), tokenizer_.after().size()};
  }
  std::vector<std::int32_t> ids = tokenizer_.encode(text);
  ids.insert(ids.begin(), *prefix_);
  return {std::move(ids), 1, 0};
}

TextEncoding::Pair TextEncoding::encode(std::string_view context, std::string_view continuation) const {
  if (context.empty()) {
    std::vector<std::int32_t> ids = tokenizer_.encode(continuation);
    if (prefix_ && (ids.empty() || ids[0] != *prefix_)) return {{*prefix_}, std::move(ids)};
    if (ids.empty()) return {};
    return {{ids[0]}, {ids.begin() + 1, ids.end()}};
  }
  const std::string whole = std::string(context) + std::string(continuation);
  std::vector<std::int32_t> ids = encode(whole);
  std::vector<std::int32_t> context_ids = encode(context.substr(0, trailing_space(context)));
  const auto shared = static_cast<std::ptrdiff_t>(std::min(ids.size(), context_ids.size()));
  return {std::move(context_ids), {ids.begin() + shared, ids.end()}};
}

}  // namespace headroom::evaluation
