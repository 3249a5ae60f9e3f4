// The tokenizer of a run's corpus.
#pragma once

#include <optional>

#include "data/corpus.h"
#include "data/tokenizer.h"
#include "trainer/config.h"

namespace headroom {

// data.tokenizer, failing that the corpus' own; nothing where there is neither. Throws ExitCode::bad_data for one that
// the corpus was not made with.
std::optional<Tokenizer> run_tokenizer(const RunConfig& config, const Corpus& corpus);

}  // namespace headroom
