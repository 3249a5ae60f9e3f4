// The tokenizer that a model is looked at with.
#pragma once

#include <filesystem>

#include "data/tokenizer.h"
#include "trainer/open_model.h"

namespace headroom {

// The one at `named`, or where that is empty the model's own. Throws ExitCode::usage where none is known,
// ExitCode::bad_data where it is not the one that our checkpoint was trained with, and as Tokenizer::load does.
Tokenizer model_tokenizer(const OpenedModel& model, const std::filesystem::path& named);

}  // namespace headroom
