// The sequences of a study, cut from text.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "analysis/study/options.h"
#include "data/tokenizer.h"

namespace headroom::study {

// A text's tokens, without BOS.
struct TextIds {
  std::string name;
  std::vector<std::int32_t> ids;
};

// How many tokens of text a sequence has: the same text with BOS and without, where the tokenizer has one.
std::int64_t text_tokens(const Tokenizer& tokenizer, const Options& options);

// Windows of consecutive tokens, evenly spread over the texts, which do not overlap: those of `texts` for means, some
// of them for detection, and those of each `held_out` text for losses. Where there is none, the last third of every
// text is held out, as one. With `bos` each begins with it. Fewer where a text is short: `notes` says so. Throws
// ExitCode::bad_data naming a text in which not even one window fits, or for a BOS that the tokenizer does not have.
Sequences cut_sequences(const std::vector<TextIds>& texts, const std::vector<TextIds>& held_out,
                        const Tokenizer& tokenizer, bool bos, const Options& options, std::vector<std::string>& notes);

// What a token is to a reader, by Unicode's categories: punctuation and white space are delimiters; a token that holds
// part of a character only, or letters beside digits, is another.
enum class TokenClass : std::uint8_t { bos, first, delimiter, number, word, other };
const char* name_of(TokenClass kind);
TokenClass class_of(std::int32_t id, std::int32_t position, const Tokenizer& tokenizer);
// How many positions of sequences, from `first` on in each, are of each class.
std::map<TokenClass, std::int64_t> class_counts(const std::vector<decoder::Sequence>& sequences,
                                                const Tokenizer& tokenizer, std::size_t first = 0);

}  // namespace headroom::study
