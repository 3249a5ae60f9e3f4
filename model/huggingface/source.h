// A Hugging Face checkpoint as a decoder's weights.
#pragma once

#include <filesystem>
#include <memory>

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

}  // namespace headroom::huggingface
