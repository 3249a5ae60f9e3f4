#include "analysis/study/texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace headroom::study {
namespace {

using Ids = std::vector<std::int32_t>;

std::vector<decoder::Sequence> windows(std::span<const std::int32_t> ids, int count, const Tokenizer& tokenizer,
                                       bool bos, const Options& options) {
  const auto length = static_cast<std::size_t>(options.tokens - (bos ? 1 : 0));
  const std::size_t fit = ids.size() / length;
  const std::size_t taken = std::min(fit, static_cast<std::size_t>(count));
  std::vector<decoder::Sequence> all;
  for (std::size_t i = 0; i < taken; ++i) {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(i * fit / taken * length);
    decoder::Sequence sequence;
    if (bos) sequence.push_back(tokenizer.bos());
    sequence.insert(sequence.end(), begin, begin + static_cast<std::ptrdiff_t>(length));
    all.push_back(std::move(sequence));
  }
  return all;
}

}  // namespace

Sequences cut_sequences(const Ids& text, const Ids& held_out, const Tokenizer& tokenizer, bool bos,
                        const Options& options, std::vector<std::string>& notes) {
  const std::span<const std::int32_t> all(text);
  const std::size_t own = held_out.empty() ? all.size() / 3 * 2 : all.size();
  Sequences sequences;
  sequences.bos = bos;
  sequences.mean = windows(all.first(own), options.mean_sequences, tokenizer, bos, options);
  sequences.evaluation = windows(held_out.empty() ? all.subspan(own) : std::span<const std::int32_t>(held_out),
                                 options.evaluation_sequences, tokenizer, bos, options);
  if (sequences.mean.empty() || sequences.evaluation.empty()) {
    throw Error(ExitCode::bad_data,
                fmt::format("{} tokens of text are too few for sequences of {}", text.size(), options.tokens),
                "Give more text, or shorter sequences (--tokens).");
  }
  const auto detection = std::min(sequences.mean.size(), static_cast<std::size_t>(options.detection_sequences));
  sequences.detection.assign(sequences.mean.begin(), sequences.mean.begin() + static_cast<std::ptrdiff_t>(detection));
  const auto note = [&](const char* what, std::size_t have, int wanted) {
    if (have < static_cast<std::size_t>(wanted)) {
      notes.push_back(fmt::format("The text holds {} sequences for {}, {} were asked for.", have, what, wanted));
    }
  };
  note("means", sequences.mean.size(), options.mean_sequences);
  note("losses", sequences.evaluation.size(), options.evaluation_sequences);
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
  const auto all = [&](auto is) {
    return std::all_of(text.begin(), text.end(), [&](unsigned char c) { return is(c) || c == ' '; });
  };
  if (text.empty()) return TokenClass::other;
  if (all([](unsigned char c) { return std::ispunct(c) != 0 || std::isspace(c) != 0; })) return TokenClass::delimiter;
  if (all([](unsigned char c) { return std::isdigit(c) != 0; })) return TokenClass::number;
  // Letters of other scripts are bytes beyond ASCII.
  if (all([](unsigned char c) { return std::isalpha(c) != 0 || c >= 0x80 || c == '\''; })) return TokenClass::word;
  return TokenClass::other;
}

}  // namespace headroom::study
