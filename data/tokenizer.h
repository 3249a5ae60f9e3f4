// Text to token ids and back, by a SentencePiece model: trained here (BPE, byte fallback) or loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace headroom {

class Tokenizer {
 public:
  // Throws ExitCode::bad_data naming the file when it is missing or no SentencePiece model.
  static Tokenizer load(const std::filesystem::path& model_file);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  std::vector<std::int32_t> encode(std::string_view text) const;  // without BOS
  std::string decode(const std::vector<std::int32_t>& ids) const;
  // The piece as a person reads it: "▁the", "<s>", "<0x0A>".
  std::string piece(std::int32_t id) const;

  std::int32_t vocab_size() const;
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
  int threads = 1;
};

// Trains on the files' documents and writes `model_file` (beside and renamed).
void train_tokenizer(const std::vector<std::filesystem::path>& texts, const TokenizerTraining& options,
                     const std::filesystem::path& model_file);

}  // namespace headroom
