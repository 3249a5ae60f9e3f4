#include "data/corpus.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/tokenizer.h"
#include "data/tokenizer/tokenizer_files.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAgainHint = "Make the corpus again: `headroom tokenize TEXT... --out DIRECTORY`.";

[[noreturn]] void fail_corpus(const fs::path& path, const std::string& what, const std::string& hint = kAgainHint) {
  throw Error(ExitCode::bad_data, fmt::format("{}: {}", path.string(), what), hint);
}

void check_tokenizer(const TokenFile& tokens, const std::string& fingerprint, const fs::path& model) {
  if (tokens.tokenizer_fingerprint() != fingerprint) {
    fail_corpus(tokens.path(),
                fmt::format("its tokens were made by tokenizer {}, but {} is {}", tokens.tokenizer_fingerprint(),
                            model.string(), fingerprint),
                "Put the tokenizer back that the corpus was made with, or make the corpus again.");
  }
}

// What the two splits must agree on, each where both say it.
void check_splits(const Corpus& corpus) {
  if (corpus.train.vocab_size() != 0 && corpus.valid.vocab_size() != 0 &&
      corpus.train.vocab_size() != corpus.valid.vocab_size()) {
    fail_corpus(corpus.valid.path(), fmt::format("a vocabulary of {}, but {} has {}", corpus.valid.vocab_size(),
                                                 corpus.train.path().string(), corpus.train.vocab_size()));
  }
  if (!corpus.train.tokenizer_fingerprint().empty() && !corpus.valid.tokenizer_fingerprint().empty() &&
      corpus.train.tokenizer_fingerprint() != corpus.valid.tokenizer_fingerprint()) {
    fail_corpus(corpus.valid.path(),
                fmt::format("tokenizer {}, but {} was made by {}", corpus.valid.tokenizer_fingerprint(),
                            corpus.train.path().string(), corpus.train.tokenizer_fingerprint()));
  }
}

std::int64_t known_vocab_size(const TokenFile& train, const TokenFile& valid) {
  return train.vocab_size() != 0 ? train.vocab_size() : valid.vocab_size();
}

Corpus open_directory(const fs::path& path) {
  const fs::path description = path / "corpus.json";
  if (!fs::exists(description)) {
    fail_corpus(path, "no corpus: it has no corpus.json",
                "A corpus directory comes from `headroom tokenize`; for files of another form, name the training "
                "file as data.corpus and the held-out one as data.valid.");
  }
  const auto json = nlohmann::json::parse(read_file(description), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("tokenizer") || !json["tokenizer"].is_object() ||
      !json["tokenizer"].contains("fingerprint") || !json["tokenizer"]["fingerprint"].is_string()) {
    fail_corpus(description, "it is damaged: no JSON with tokenizer.fingerprint");
  }
  Corpus corpus{TokenFile::open(path / "train.tokens"), TokenFile::open(path / "valid.tokens"),
                find_tokenizer_files(path).main, 0};
  check_splits(corpus);
  const Tokenizer tokenizer = Tokenizer::load(corpus.tokenizer_file);
  check_tokenizer(corpus.train, tokenizer.fingerprint(), corpus.tokenizer_file);
  const auto named = json["tokenizer"]["fingerprint"].get<std::string>();
  if (named != tokenizer.fingerprint()) {
    fail_corpus(description, fmt::format("it names tokenizer {}, but {} is {}", named, corpus.tokenizer_file.string(),
                                         tokenizer.fingerprint()));
  }
  if (corpus.train.vocab_size() != tokenizer.vocab_size()) {
    fail_corpus(corpus.train.path(), fmt::format("a vocabulary of {}, but the tokenizer has {} pieces",
                                                 corpus.train.vocab_size(), tokenizer.vocab_size()));
  }
  corpus.vocab_size = tokenizer.vocab_size();
  return corpus;
}

}  // namespace

Corpus Corpus::open(const fs::path& path, const fs::path& valid_path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    fs::path partial = path;
    partial += ".partial";
    const bool interrupted = fs::exists(partial, error);
    fail_corpus(path, interrupted ? "no such corpus, only one that was not finished" : "no such corpus",
                interrupted ? "Run `headroom tokenize` again; it starts afresh."
                            : "Make one with `headroom tokenize`, or the default one with launch/quickstart.sh.");
  }
  if (fs::is_directory(status)) {
    if (!valid_path.empty()) {
      fail_corpus(path, "a corpus directory brings its own held-out split", "Leave data.valid out.");
    }
    return open_directory(path);
  }
  if (valid_path.empty()) {
    fail_corpus(path, "a token file alone has no held-out split",
                "Name one with data.valid. If this is text, make a corpus of it with `headroom tokenize`.");
  }
  Corpus corpus{TokenFile::open(path), TokenFile::open(valid_path), {}, 0};
  check_splits(corpus);
  corpus.vocab_size = known_vocab_size(corpus.train, corpus.valid);
  return corpus;
}

}  // namespace headroom
