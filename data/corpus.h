// A corpus on disk: token files read through memory maps, so that its size never matters.
//
// Headroom's own form is a directory (docs/corpus-format.md):
//   corpus.json       what it holds: tokenizer, documents, tokens of each split, fingerprint, source files
//   tokenizer.model   the SentencePiece model, or the files of another tokenizer: tokenizer.json, ...
//   (data/tokenizer.h) train.tokens      header (64 bytes: magic, version, dtype, vocabulary, token count, document
//   count, valid.tokens      tokenizer fingerprint, checksum), tokens (u16 or u32), document offsets (u64)
// Also read: llm.c and nanoGPT `.bin`, Megatron-LM `.bin` + `.idx`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace headroom {

// One split's tokens as one long sequence, whatever file form it came from.
class TokenFile {
 public:
  // Recognises the form by content: Headroom's magic, llm.c's magic, a Megatron index beside it, else raw u16
  // (nanoGPT). Throws ExitCode::bad_data naming the file and what is wrong: missing, empty, truncated, unknown
  // version, sizes that do not match.
  static TokenFile open(const std::filesystem::path& path);

  ~TokenFile();
  TokenFile(TokenFile&&) noexcept;
  TokenFile& operator=(TokenFile&&) noexcept;

  std::uint64_t size() const;                        // tokens
  std::span<const std::uint64_t> documents() const;  // first token of each; empty when the form has none
  // Copies tokens [begin, begin + out.size()). Throws ExitCode::bad_data for an id >= vocab_limit, naming file,
  // position and id. A limit of 0 means only that ids fit into 31 bits.
  void read(std::uint64_t begin, std::span<std::int32_t> out, std::int64_t vocab_limit) const;

  std::int64_t vocab_size() const;                   // from the header; 0 when the form does not say
  const std::string& tokenizer_fingerprint() const;  // empty when the form does not say
  std::uint64_t fingerprint() const;                 // of sizes, dtype and a sample of the contents
  const std::string& form() const;                   // "Headroom", "llm.c", "nanoGPT" or "Megatron-LM"
  const std::filesystem::path& path() const;

 private:
  TokenFile();
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// What a run trains on and is evaluated on.
struct Corpus {
  TokenFile train;
  TokenFile valid;
  std::filesystem::path tokenizer_file;  // what Tokenizer::load takes; empty when the corpus brings none
  std::int64_t vocab_size = 0;           // 0 when unknown

  // `path`: a corpus directory, or a token file (then `valid_path` must name the held-out one; it is
  // an error with a hint when it does not). Throws ExitCode::bad_data when the parts do not belong together: a
  // tokenizer, a header or a corpus.json that names another tokenizer, or splits of different vocabularies.
  static Corpus open(const std::filesystem::path& path, const std::filesystem::path& valid_path = {});
};

}  // namespace headroom
