// headroom tokenize: text files to a corpus.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/progress.h"
#include "data/build_corpus.h"
#include "launch/verbs.h"

namespace headroom {
namespace {

// Shows each stage of build_corpus as it begins, goes on and ends.
class StageProgress {
 public:
  void operator()(const std::string& stage, std::uint64_t done, std::uint64_t total) {
    if (stage != stage_) {
      if (progress_) progress_->finish();
      progress_.emplace(stage, total);
      stage_ = stage;
    }
    progress_->set(
        done, fmt::format("{:.1f} / {:.1f} MB", static_cast<double>(done) / 1e6, static_cast<double>(total) / 1e6));
  }
  void finish() {
    if (progress_) progress_->finish();
  }

 private:
  std::string stage_;
  std::optional<Progress> progress_;
};

class TokenizeVerb : public Verb {
 public:
  TokenizeVerb() : Verb("tokenize", "Turn text files into a corpus: tokenizer, token files, held-out split") {}

  void declare(CLI::App& app) override {
    app.add_option("TEXT", options_.texts, "text files (UTF-8), or directories of *.txt")->required();
    app.add_option("-o,--out", options_.output, "the corpus directory to make")->required();
    app.add_option("--vocab-size", options_.tokenizer.vocab_size, "pieces of the tokenizer to train")
        ->capture_default_str()
        ->check(CLI::Range(300, 1'000'000));
    auto* model = app.add_option(
        "--tokenizer", options_.tokenizer_path,
        "use this one instead of training one: a SentencePiece model, a tokenizer.json, or a Hugging Face "
        "model's directory");
    app.get_option("--vocab-size")->excludes(model);
    app.add_option("--sample-mb", sample_mb_, "train the tokenizer on about this much of the text; 0: on all of it")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1e6));
    app.add_option("--held-out", options_.split.held_out, "share of the text to hold out, in documents")
        ->capture_default_str()
        ->check(CLI::Range(1e-6, 0.5));
    app.add_option("--separator", options_.separator, "a line holding only this ends a document")
        ->capture_default_str();
    app.add_flag("--drop-duplicates", options_.split.drop_duplicates, "keep only the first of equal documents");
    app.add_flag("--overwrite", options_.overwrite, "replace the corpus at --out");
    app.add_option("-j,--threads", threads_, "threads that encode; 0: one a core")
        ->capture_default_str()
        ->check(CLI::Range(0, 1024));
    app.footer(
        "The corpus's form is described in docs/corpus-format.md. launch/prepare_corpus.sh makes the default text.");
  }

  ExitCode run() override {
    options_.threads = threads_ > 0 ? threads_ : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    options_.tokenizer.sample_bytes = static_cast<std::uint64_t>(sample_mb_ * 1e6);
    StageProgress progress;
    const BuildResult result = build_corpus(options_, [&](const std::string& stage, std::uint64_t done,
                                                          std::uint64_t total) { progress(stage, done, total); });
    progress.finish();
    for (const std::string& warning : result.warnings) fmt::print(stderr, "warning: {}\n", warning);
    fmt::print("{:9}  {:>12}  {:>10}  {:>9}\n", "split", "tokens", "documents", "text MB");
    print_split("train", result.train);
    print_split("held out", result.valid);
    if (options_.split.drop_duplicates) fmt::print("{} duplicates dropped\n", result.duplicates);
    fmt::print("tokenizer {} with {} pieces, {:.2f} bytes a token\n", result.tokenizer_fingerprint, result.vocab_size,
               static_cast<double>(result.train.text_bytes) / static_cast<double>(result.train.tokens));
    fmt::print("{}\n", options_.output.string());
    return ExitCode::done;
  }

 private:
  static void print_split(const char* name, const BuildResult::Part& part) {
    fmt::print("{:9}  {:12}  {:10}  {:9.2f}\n", name, part.tokens, part.documents,
               static_cast<double>(part.text_bytes) / 1e6);
  }

  BuildOptions options_;
  double sample_mb_ = 8.0;
  int threads_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_tokenize_verb() {
  return std::make_unique<TokenizeVerb>();
}

}  // namespace headroom
