#include "analysis/study/texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "analysis/study/bootstrap.h"
#include "base/error.h"
#include "data/tokenizer/characters.h"
#include "data/utf8.h"

namespace headroom::study {
namespace {

using Ids = std::span<const std::int32_t>;

// Windows that do not overlap, as they lie in one text after another.
std::vector<Ids> windows_of(const std::vector<Ids>& texts, std::int64_t length) {
  std::vector<Ids> all;
  for (const Ids& text : texts) {
    const auto size = static_cast<std::size_t>(length);
    for (std::size_t begin = 0; begin + size <= text.size(); begin += size) all.push_back(text.subspan(begin, size));
  }
  return all;
}

// `count` of them, or all, evenly spread.
template <class Item>
std::vector<Item> spread(const std::vector<Item>& all, int count) {
  const std::size_t taken = std::min(all.size(), static_cast<std::size_t>(count));
  std::vector<Item> some;
  for (std::size_t i = 0; i < taken; ++i) some.push_back(all[i * all.size() / taken]);
  return some;
}

std::vector<decoder::Sequence> sequences_of(const std::vector<Ids>& windows, int count, const Tokenizer& tokenizer,
                                            bool bos) {
  std::vector<decoder::Sequence> all;
  for (const Ids& window : spread(windows, count)) {
    decoder::Sequence sequence;
    if (bos) sequence.push_back(tokenizer.bos());
    sequence.insert(sequence.end(), window.begin(), window.end());
    all.push_back(std::move(sequence));
  }
  return all;
}

[[noreturn]] void refuse_short(const std::string& text, std::size_t tokens, const Options& options) {
  throw Error(ExitCode::bad_data,
              fmt::format("{}: {} tokens are too few for a sequence of {}", text, tokens, options.tokens),
              "Give more text, or shorter sequences (--tokens).");
}

}  // namespace

std::int64_t text_tokens(const Tokenizer& tokenizer, const Options& options) {
  return options.tokens - (tokenizer.has_bos() ? 1 : 0);
}

Sequences cut_sequences(const std::vector<TextIds>& texts, const std::vector<TextIds>& held_out,
                        const Tokenizer& tokenizer, bool bos, const Options& options, std::vector<std::string>& notes) {
  const std::int64_t length = text_tokens(tokenizer, options);
  HEADROOM_CHECK(length > 0, "sequences of {} tokens", options.tokens);
  std::vector<Ids> own;
  std::vector<Ids> rest;  // of the texts
  std::size_t tokens = 0;
  std::string names;
  for (const TextIds& text : texts) {
    const Ids ids(text.ids);
    const std::size_t kept = held_out.empty() ? ids.size() / 3 * 2 : ids.size();
    own.push_back(ids.first(kept));
    rest.push_back(ids.subspan(kept));
    tokens += ids.size();
    names += (names.empty() ? "" : ", ") + text.name;
  }
  Sequences sequences;
  sequences.bos = bos;
  sequences.mean = sequences_of(windows_of(own, length), options.mean_sequences, tokenizer, bos);
  if (sequences.mean.empty()) refuse_short(names, tokens, options);
  sequences.detection = spread(sequences.mean, options.detection_sequences);
  const auto note = [&](const std::string& text, const char* what, std::size_t have, int wanted) {
    if (have < static_cast<std::size_t>(wanted)) {
      notes.push_back(fmt::format("{} holds {} sequence{} for {}; {} were asked for.", text, have, have == 1 ? "" : "s",
                                  what, wanted));
    }
  };
  const auto add = [&](const std::string& name, const std::vector<Ids>& of, std::size_t size) {
    sequences.evaluation.push_back(
        {name, sequences_of(windows_of(of, length), options.evaluation_sequences, tokenizer, bos)});
    const std::size_t found = sequences.evaluation.back().sequences.size();
    if (found == 0) refuse_short(name, size, options);
    note(name, "losses", found, options.evaluation_sequences);
    if (found < kFewestSequences) {
      notes.push_back(fmt::format("{}: no intervals, which want {} sequences or more.", name, kFewestSequences));
    }
  };
  note(names, "detection", sequences.detection.size(), options.detection_sequences);
  note(names, "means", sequences.mean.size(), options.mean_sequences);
  for (const TextIds& text : held_out) add(text.name, {Ids(text.ids)}, text.ids.size());
  if (held_out.empty()) add("the last third of " + names, rest, tokens / 3);
  return sequences;
}

const char* name_of(TokenClass kind) {
  switch (kind) {
    case TokenClass::bos:
      return "BOS";
    case TokenClass::first:
      return "first token";
    case TokenClass::delimiter:
      return "delimiter";
    case TokenClass::number:
      return "number";
    case TokenClass::word:
      return "word";
    case TokenClass::other:
      return "other";
  }
  return "";
}

TokenClass class_of(std::int32_t id, std::int32_t position, const Tokenizer& tokenizer) {
  if (tokenizer.has_bos() && id == tokenizer.bos()) return TokenClass::bos;
  if (position == 0) return TokenClass::first;
  const std::string text = tokenizer.decode({id});
  if (text.empty() || valid_utf8_prefix(text) != text.size()) return TokenClass::other;
  bool letters = false;
  bool digits = false;
  bool marks = false;  // whatever else a word may hold
  for (std::size_t at = 0; at < text.size();) {
    const auto [code, length] = utf8_character(text, at);
    at += length;
    constexpr char32_t kApostrophe = U'\'';
    constexpr char32_t kReplacement = U'\uFFFD';  // of a part of a character
    if (code == kReplacement) return TokenClass::other;
    if (is_white_space(code) || (is_punctuation(code) && code != kApostrophe)) {
      marks |= !is_white_space(code);
    } else if (is_letter(code) || is_mark(code) || code == kApostrophe) {
      letters = true;
    } else if (is_number(code)) {
      digits = true;
    } else {
      return TokenClass::other;
    }
  }
  const int kinds = static_cast<int>(letters) + static_cast<int>(digits) + static_cast<int>(marks);
  if (kinds > 1) return TokenClass::other;
  return letters ? TokenClass::word : digits ? TokenClass::number : TokenClass::delimiter;
}

std::map<TokenClass, std::int64_t> class_counts(const std::vector<decoder::Sequence>& sequences,
                                                const Tokenizer& tokenizer, std::size_t first) {
  std::map<TokenClass, std::int64_t> counts;
  for (const decoder::Sequence& ids : sequences) {
    for (std::size_t i = first; i < ids.size(); ++i)
      ++counts[class_of(ids[i], static_cast<std::int32_t>(i), tokenizer)];
  }
  return counts;
}

}  // namespace headroom::study
