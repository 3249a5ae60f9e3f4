// A model's forward pass in a file, so that anyone can compare it with another program's: what enters the first layer,
// what every layer puts out, what enters the head, and the logits. docs/forward-format.md describes the file.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "model/decoder/decoder.h"

namespace headroom {

// What the file says of where it comes from.
struct ForwardProvenance {
  std::string model;  // its name
  std::filesystem::path checkpoint;
  std::filesystem::path ids;
};

// Runs all sequences and writes `file` (beside and renamed). In memory are one layer's weights and the sequences'
// hidden states. `progress` hears of every layer that is done. Throws what the decoder throws, and ExitCode::disk_full.
void write_forward(decoder::Decoder& decoder, std::span<const decoder::Sequence> sequences,
                   const ForwardProvenance& provenance, const std::filesystem::path& file,
                   const std::function<void(std::int64_t layers)>& progress);

}  // namespace headroom
