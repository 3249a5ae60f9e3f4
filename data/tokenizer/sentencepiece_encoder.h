// A SentencePiece model, by its own library.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "data/tokenizer/special_ids.h"
#include "data/tokenizer/text_encoder.h"

namespace headroom {

struct SentencePieceModel {
  std::unique_ptr<TextEncoder> encoder;
  Conventions said;  // by the model's control pieces
};

// `bytes` are those of `file`. Throws ExitCode::bad_data naming the file when they are no model.
SentencePieceModel read_sentencepiece(const std::string& bytes, const std::filesystem::path& file);

}  // namespace headroom
