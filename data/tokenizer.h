// Text to token ids and back, by a SentencePiece model: trained here (BPE, byte fallback) or loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/documents.h"

namespace headroom {

class Tokenizer {
 public:
  // Throws ExitCode::bad_data naming the file when it is missing or no SentencePiece model.
  static Tokenizer load(const std::filesystem::path& model_file);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Without BOS. Safe to call from several threads at once.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // The same for text that goes on a text encoded before: no word boundary is put before it. With a model whose pieces
  // hold no line breaks (any that train_tokenizer made), encode(a) and then encode_continuation("\n" + b) give
  // the ids of encode(a + "\n" + b).
  std::vector<std::int32_t> encode_continuation(std::string_view text) const;
  std::string decode(const std::vector<std::int32_t>& ids) const;
  // The piece as a person reads it: "▁the", "<s>", "<0x0A>". Throws ExitCode::bad_data for an id out of range.
  std::string piece(std::int32_t id) const;

  std::int32_t vocab_size() const;
  // Throws ExitCode::bad_data when the model has no BOS piece.
  std::int32_t bos() const;
  // xxHash64 of the model file, 16 hex digits: corpora and checkpoints name the tokenizer by it.
  const std::string& fingerprint() const;

 private:
  Tokenizer();
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

struct TokenizerTraining {
  std::int32_t vocab_size = 8192;
  std::uint64_t sample_bytes = 0;  // train on about this much text, spread over all of it; all of it when 0
  DocumentFormat format;
};

// Trains on the files' documents and writes `model_file` (beside and renamed). The same files and options give the same
// bytes. Memory grows with the number of different words in the sample, not with the text. A text too small
// for the vocabulary gives a smaller one. Throws ExitCode::bad_data when there is no text, ExitCode::usage when
// vocab_size has no room for the 256 bytes, three control pieces and the text's characters. `progress` hears the raw
// bytes read.
void train_tokenizer(const std::vector<std::filesystem::path>& texts, const TokenizerTraining& options,
                     const std::filesystem::path& model_file,
                     const std::function<void(std::uint64_t bytes_read)>& progress = {});

}  // namespace headroom
