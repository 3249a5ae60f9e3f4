// The sequences of a study, cut from text.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/study/options.h"
#include "data/tokenizer.h"

namespace headroom::study {

// Windows of consecutive tokens, evenly spread over the text, which do not overlap: first those of `text` for detection
// and means, then those of `held_out` (or, where there is none, of the last third of `text`) for losses. With `bos`
// each begins with it and has a token of text less. Fewer where the text is short: `notes` says so. Throws
// ExitCode::bad_data where not even one window of each fits, or for a BOS that the tokenizer does not have.
Sequences cut_sequences(const std::vector<std::int32_t>& text, const std::vector<std::int32_t>& held_out,
                        const Tokenizer& tokenizer, bool bos, const Options& options, std::vector<std::string>& notes);

// What a token is to a reader.
enum class TokenClass : std::uint8_t { bos, first, delimiter, number, word, other };
const char* name_of(TokenClass kind);
TokenClass class_of(std::int32_t id, std::int32_t position, const Tokenizer& tokenizer);

}  // namespace headroom::study
