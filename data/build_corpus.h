// Text files to a corpus directory (docs/corpus-format.md), in a stream: memory does not grow with the text, except by
// 8 bytes and a little a document where duplicates are dropped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/documents.h"
#include "data/split_plan.h"
#include "data/tokenizer.h"

namespace headroom {

struct BuildOptions {
  std::vector<std::filesystem::path> texts;  // files, or directories of *.txt
  std::filesystem::path output;              // the corpus directory to make
  std::filesystem::path tokenizer_path;      // what Tokenizer::load takes; one is trained on the text when empty
  TokenizerTraining tokenizer = {.vocab_size = 8192, .sample_bytes = 8'000'000, .format = {}};
  SplitOptions split;
  std::string separator = DocumentFormat{}.separator;
  int threads = 1;         // that encode
  bool overwrite = false;  // replace a corpus at `output`
};

struct BuildResult {
  struct Part {
    std::uint64_t documents = 0;
    std::uint64_t tokens = 0;
    std::uint64_t text_bytes = 0;
  };
  Part train;
  Part valid;
  std::uint64_t duplicates = 0;  // dropped documents
  std::int64_t vocab_size = 0;
  std::string tokenizer_fingerprint;
  std::vector<TextFile> files;
  std::vector<std::string> warnings;  // what the user should know: replaced bytes, a smaller vocabulary
};

// Hears how far a stage ("reading", "training tokenizer", "encoding") is, in bytes of text files.
using BuildProgress = std::function<void(const std::string& stage, std::uint64_t done, std::uint64_t total)>;

// Everything is written into `output`.partial, which is renamed at the end; a partial one left by an interrupted build
// is begun afresh. The same texts, options and library give the same token files and tokenizer, whatever the threads.
// Throws
//   ExitCode::usage      `output` exists (without overwrite), is not a corpus, or holds one of the texts; bad options
//   ExitCode::bad_data   no, unreadable or changing texts; an unsuitable tokenizer; too little text to split
//   ExitCode::disk_full  writing failed
//   ExitCode::busy       another build is writing to the same place
BuildResult build_corpus(const BuildOptions& options, const BuildProgress& progress = {});

}  // namespace headroom
