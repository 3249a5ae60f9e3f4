// The models that a verb can look at: a Hugging Face directory, a run of ours, or one of its checkpoints.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "model/decoder/decoder.h"

namespace headroom {

enum class ModelKind : std::uint8_t { huggingface, own };

struct OpenedModel {
  ModelKind kind;
  std::string name;                   // for reports: the directory's, or the run's with its step
  std::filesystem::path directory;    // of the checkpoint
  std::filesystem::path tokenizer;    // file or directory; empty where none is known
  std::string tokenizer_fingerprint;  // that it was trained with; empty where not known
  std::unique_ptr<decoder::Decoder> decoder;
};

// Throws ExitCode::usage where the path is none of these, ExitCode::bad_checkpoint for one that is damaged or not
// supported, naming file and key or tensor.
OpenedModel open_model(const std::filesystem::path& path);

}  // namespace headroom
