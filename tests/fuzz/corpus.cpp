// corpus.json of a corpus directory whose other files are whole. Where the bytes say @TOKENIZER@, the directory's own
// tokenizer's fingerprint takes its place: seeds outlive another version of SentencePiece.
#include "data/corpus.h"
#include "data/build_corpus.h"
#include "tests/fuzz/target.h"
#include "tests/scratch.h"

namespace headroom::fuzz {
namespace {

struct Directory {
  test::Scratch scratch;
  BuildResult built;

  Directory() {
    std::string text;
    for (int document = 0; document < 40; ++document) {
      text +=
          fmt::format("Document {} carries a sentence of {} words.\n<|endoftext|>\n", document, document * document);
    }
    BuildOptions options;
    options.texts = {scratch.file("text.txt", text)};
    options.output = scratch / "corpus";
    options.tokenizer.vocab_size = 300;
    options.split.held_out = 0.2;
    built = build_corpus(options);
  }
};

std::string with_fingerprint(std::string text, const std::string& fingerprint) {
  constexpr std::string_view kName = "@TOKENIZER@";
  for (std::size_t at = text.find(kName); at != std::string::npos; at = text.find(kName, at)) {
    text.replace(at, kName.size(), fingerprint);
  }
  return text;
}

void drive(std::string_view bytes) {
  static const Directory directory;
  directory.scratch.file("corpus/corpus.json",
                         with_fingerprint(std::string(bytes), directory.built.tokenizer_fingerprint));
  const Corpus corpus = Corpus::open(directory.scratch / "corpus");
  HEADROOM_CHECK(corpus.vocab_size == directory.built.vocab_size && corpus.train.size() == directory.built.train.tokens,
                 "{} pieces and {} tokens were opened, {} and {} built", corpus.vocab_size, corpus.train.size(),
                 directory.built.vocab_size, directory.built.train.tokens);
}

const Registration kRegistered({"corpus", {ExitCode::bad_data}, drive});

}  // namespace
}  // namespace headroom::fuzz
