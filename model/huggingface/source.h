// A Hugging Face checkpoint as a decoder's weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "model/decoder/config.h"
#include "model/decoder/weights.h"

namespace headroom::huggingface {

// The architecture that a directory's config.json describes. Throws ExitCode::bad_checkpoint naming file and key for
// what is missing, wrong, or not supported.
decoder::Config read_config(const std::filesystem::path& directory);

// Its weights, mapped. Every tensor that the config asks for is there and has its shape when this returns; otherwise it
// throws ExitCode::bad_checkpoint naming the tensor.
std::unique_ptr<decoder::WeightSource> open_weights(const std::filesystem::path& directory,
                                                    const decoder::Config& config);

// The tokens that end a text: eos_token_id of generation_config.json, or else of config.json; empty where neither names
// one. Throws ExitCode::bad_checkpoint for anything but ids.
std::vector<std::int32_t> end_tokens(const std::filesystem::path& directory);

}  // namespace headroom::huggingface
