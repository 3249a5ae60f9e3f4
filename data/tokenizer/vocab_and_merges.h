// vocab.json and merges.txt: GPT-2's byte-level BPE as it was first published, and as OPT still ships.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/tokenizer/companions.h"

namespace headroom {

// The tokenizer.json that says the same: GPT-2's pre-tokenizer and decoder, the special tokens that the companions name
// as added tokens. Where they say nothing of a BOS, it is GPT-2's own "<|endoftext|>", if that is in the vocabulary,
// and is written into them. Throws ExitCode::bad_data naming file and line or key.
nlohmann::json tokenizer_json_of(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                                 Companions& companions);

}  // namespace headroom
