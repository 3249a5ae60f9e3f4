// A model of ours as a Hugging Face directory: `headroom convert RUN --to hf DIR`. docs/export.md describes what is
// written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "model/decoder/weights.h"
#include "model/huggingface/export_form.h"
#include "model/huggingface/safetensors.h"

namespace headroom::huggingface {

struct ExportOptions {
  StoredType type = StoredType::f32;         // f32, f16 or bf16
  std::int64_t shard_bytes = 5'000'000'000;  // the most of a file, unless a single tensor is larger
  std::filesystem::path tokenizer;           // file or directory; empty: none is written
};

struct ExportResult {
  ExportForm form;
  std::uint64_t bytes = 0;              // of the weights' files
  bool tokenizer_changes_text = false;  // which transformers will not do (docs/export.md)
};

// Writes `directory`, which must not exist: beside it, renamed when it is complete. In memory are one
// layer's weights and one tensor. `progress` hears of every layer that is written. Throws ExitCode::usage where the
// directory exists, ExitCode::bad_data for a tokenizer that cannot be read, has more tokens than the model, or a weight
// that f16 cannot hold, ExitCode::disk_full.
ExportResult export_model(const decoder::Config& config, decoder::WeightSource& weights, const ExportOptions& options,
                          const std::filesystem::path& directory,
                          const std::function<void(std::int64_t layers)>& progress);

}  // namespace headroom::huggingface
