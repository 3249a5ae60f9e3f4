// Which files a tokenizer is read from.
#pragma once

#include <cstdint>
#include <filesystem>

namespace headroom {

enum class TokenizerForm : std::uint8_t { sentencepiece, tokenizer_json, vocab_and_merges };

struct TokenizerFiles {
  TokenizerForm form;
  std::filesystem::path main;    // the model, tokenizer.json or vocab.json
  std::filesystem::path merges;  // merges.txt, beside vocab.json
  // Where companions (data/tokenizer/companions.h) are looked for; empty for a file of another name than a Hugging Face
  // directory's, which is read alone.
  std::filesystem::path directory;

  // The name that the main file has in a Hugging Face directory.
  const char* canonical_name() const;
};

// `path` is a file or a directory. Of a directory: tokenizer.json, else tokenizer.model, else vocab.json with
// merges.txt. Of a file: one named vocab.json belongs to the merges.txt beside it; any other that begins with a brace
// is a tokenizer.json, and what does not is a SentencePiece model. Throws ExitCode::bad_data naming the path and what
// is missing.
TokenizerFiles find_tokenizer_files(const std::filesystem::path& path);

// Whether a directory has any of these files.
bool holds_tokenizer(const std::filesystem::path& directory);

}  // namespace headroom
