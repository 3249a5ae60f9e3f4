// Text to token ids and back, by the tokenizer that a model was published with or one that is trained here.
//
// Read are SentencePiece's tokenizer.model, and the tokenizer.json of the `tokenizers` library where its model is BPE:
// byte-level (GPT-2, LLaMA-3, OLMo, Phi, Falcon, OPT, Qwen) or of SentencePiece's kind (LLaMA-2, Mistral, Gemma), with
// the ids that this library gives. docs/tokenizers.md says what is read, what is refused and how that is checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/documents.h"

namespace headroom {

class Tokenizer {
 public:
  // A SentencePiece model, a tokenizer.json, or the directory of a Hugging Face model. Of what a directory holds, the
  // first of these counts: tokenizer.json; tokenizer.model; vocab.json with merges.txt, which is GPT-2's byte-level
  // BPE. What begins and ends a text is said by tokenizer_config.json, special_tokens_map.json and config.json beside
  // it (data/tokenizer/companions.h); they are read, too, where a file is named that is called as in such a directory.
  //
  // Throws ExitCode::bad_data naming file and key: missing, damaged, no tokenizer, or one of a kind or with a setting
  // that is not supported. Nothing that could change an id is ignored.
  static Tokenizer load(const std::filesystem::path& path);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Without BOS. Invalid UTF-8 is encoded as if each maximal invalid part were U+FFFD (data/utf8.h). Safe to call from
  // several threads at once. Throws ExitCode::bad_data naming the pattern when a pre-tokenizer's gives up on the text.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // The same for text that goes on a text encoded before: no word boundary is put before it. With a model whose pieces
  // hold no line breaks (any that train_tokenizer made), encode(a) and then encode_continuation("\n" + b) give
  // the ids of encode(a + "\n" + b).
  std::vector<std::int32_t> encode_continuation(std::string_view text) const;
  // With what the model's convention puts around a text: `before`, the text's ids, `after`.
  std::vector<std::int32_t> encode_with_special(std::string_view text) const;
  // Special tokens are part of the text. Bytes that are no UTF-8 become U+FFFD.
  std::string decode(const std::vector<std::int32_t>& ids) const;
  // The piece as a person reads it, a blank as U+2581 and bytes that are no text in hex: "▁the", "<s>", "<0x0A>".
  // Throws ExitCode::bad_data for an id that is no piece.
  std::string piece(std::int32_t id) const;

  // One more than the largest id.
  std::int32_t vocab_size() const;
  // Throws ExitCode::bad_data when the tokenizer has no BOS (Qwen's has none). Whether it is put before a text is
  // another matter: GPT-2 has one, and its convention puts none.
  std::int32_t bos() const;
  bool has_bos() const;
  // Nothing where no file names one.
  std::optional<std::int32_t> eos() const;
  // What the convention puts around a text: a tokenizer.json's post-processor says; where it says nothing,
  // tokenizer_config.json's add_bos_token and add_eos_token; where they are missing, a SentencePiece model's BOS goes
  // before, and nothing goes around byte-level BPE.
  const std::vector<std::int32_t>& before() const;
  const std::vector<std::int32_t>& after() const;

  // 16 hex digits, by which corpora and checkpoints name the tokenizer: xxHash64 of the file; where other files say
  // something about it that it does not say itself, of that, too.
  const std::string& fingerprint() const;

  // Copies the files it was read from into a directory, under the names that `load` looks for there. Returns the name
  // of the main one. Throws ExitCode::disk_full, ExitCode::bad_data.
  std::string copy_to(const std::filesystem::path& directory) const;

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

// Trains a SentencePiece model (BPE, byte fallback) on the files' documents and writes `model_file` (beside and
// renamed). The same files and options give the same bytes. Memory grows with the number of different words in the
// sample, not with the text. A text too small for the vocabulary gives a smaller one. Throws ExitCode::bad_data when
// there is no text, ExitCode::usage when vocab_size has no room for the 256 bytes, three control pieces and the text's
// characters. `progress` hears the raw bytes read.
void train_tokenizer(const std::vector<std::filesystem::path>& texts, const TokenizerTraining& options,
                     const std::filesystem::path& model_file,
                     const std::function<void(std::uint64_t bytes_read)>& progress = {});

}  // namespace headroom
