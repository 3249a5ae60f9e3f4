// A model from elsewhere as a run of ours that has not taken a step: `headroom convert MODEL --to headroom DIR`. Its
// checkpoint has weights and no moments, and loads at any layout, as every other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "model/decoder/weights.h"
#include "trainer/decoder_checkpoint.h"

namespace headroom {

// Writes `directory`, which must not exist: config.toml, checkpoints/step-00000000 and, unless `tokenizer` is empty, a
// copy of it in tokenizer/. It is made beside it and renamed when it is complete. In memory are one layer's
// weights and one tensor. `progress` hears of every layer that is written. Returns the checkpoint's bytes. Throws
// ExitCode::bad_checkpoint naming what of the model ours have not (model_config), ExitCode::usage where the directory
// exists, ExitCode::bad_data for a tokenizer that cannot be read or has more tokens than the model,
// ExitCode::disk_full.
std::int64_t import_model(const decoder::Config& config, decoder::WeightSource& weights,
                          const std::filesystem::path& tokenizer, const std::filesystem::path& directory,
                          const std::function<void(std::int64_t layers)>& progress);

}  // namespace headroom
