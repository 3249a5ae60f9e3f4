#include "data/tokenizer/tokenizer_files.h"

#include <cerrno>
#include <fstream>

#include "base/error.h"
#include "base/file.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

TokenizerFiles vocab_and_merges(const fs::path& vocab) {
  const fs::path directory = vocab.parent_path();
  const fs::path merges = directory / "merges.txt";
  if (!is_file(merges)) {
    throw Error(ExitCode::bad_data, fmt::format("{} is there, but no merges.txt beside it", vocab.string()),
                "Both belong to GPT-2's form of a tokenizer: put the other one there, too.");
  }
  return {TokenizerForm::vocab_and_merges, vocab, merges, directory.empty() ? fs::path(".") : directory};
}

TokenizerFiles in_directory(const fs::path& directory) {
  if (is_file(directory / "tokenizer.json")) {
    return {TokenizerForm::tokenizer_json, directory / "tokenizer.json", {}, directory};
  }
  if (is_file(directory / "tokenizer.model")) {
    return {TokenizerForm::sentencepiece, directory / "tokenizer.model", {}, directory};
  }
  if (is_file(directory / "vocab.json")) return vocab_and_merges(directory / "vocab.json");
  throw Error(ExitCode::bad_data,
              fmt::format("{} holds no tokenizer: no tokenizer.json, no tokenizer.model, and no vocab.json with "
                          "merges.txt",
                          directory.string()),
              "Name the directory of a model as it is downloaded, or the tokenizer's file itself.");
}

// Whether the first byte that is no white space opens an object.
bool looks_like_json(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  char first = '\0';
  return (stream >> first) && first == '{';
}

}  // namespace

const char* TokenizerFiles::canonical_name() const {
  switch (form) {
    case TokenizerForm::sentencepiece:
      return "tokenizer.model";
    case TokenizerForm::tokenizer_json:
      return "tokenizer.json";
    case TokenizerForm::vocab_and_merges:
      return "vocab.json";
  }
  return "";
}

TokenizerFiles find_tokenizer_files(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw_read_error(path, error ? error.value() : ENOENT);
  if (fs::is_directory(status)) return in_directory(path);
  if (path.filename() == "vocab.json") return vocab_and_merges(path);
  TokenizerFiles files{
      looks_like_json(path) ? TokenizerForm::tokenizer_json : TokenizerForm::sentencepiece, path, {}, {}};
  if (path.filename() == files.canonical_name()) {
    files.directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  }
  return files;
}

bool holds_tokenizer(const fs::path& directory) {
  return is_file(directory / "tokenizer.json") || is_file(directory / "tokenizer.model") ||
         is_file(directory / "vocab.json");
}

}  // namespace headroom
