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

// A directory's architecture with its weights, mapped.
struct Checkpoint {
  decoder::Config config;  // read_config's, but for a tied head that the file has otherwise: that one counts
  std::unique_ptr<decoder::WeightSource> weights;
};

// Every tensor that the config asks for is there and has its shape when this returns, and its layers have no others but
// buffers that are computed anew. Otherwise it throws ExitCode::bad_checkpoint naming the tensor.
Checkpoint open_checkpoint(const std::filesystem::path& directory);

// The tokens that end a text: eos_token_id of generation_config.json, or else of config.json; empty where neither names
// one. Throws ExitCode::bad_checkpoint for anything but ids.
std::vector<std::int32_t> end_tokens(const std::filesystem::path& directory);

}  // namespace headroom::huggingface
