// Corpora made with a model's own tokenizer: its files are kept, and long documents have the ids of their whole text.
#include <nlohmann/json.hpp>

#include "data/build_corpus.h"
#include "data/corpus.h"
#include "tests/data/support.h"
#include "tests/source_dir.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::expect_error;
using test::Scratch;

fs::path fixture(const std::string& name) {
  return fs::path(test::source_dir()) / "tests/fixtures/tokenizers" / name;
}

// A document of several parts (64 KiB each), whose lines end in what patterns join to line breaks.
std::string long_document() {
  std::string text;
  unsigned state = 3;
  while (text.size() < 400'000) {
    state = state * 1664525u + 1013904223u;
    static const char* const kEnds[] = {";\n", ";\n\n", " \n  ", ";\n", " {\n\t", "\n"};
    text += test::prose(1, state).substr(0, 20 + (state >> 20) % 40) + kEnds[(state >> 10) % std::size(kEnds)];
  }
  return text + "end";
}

BuildOptions options_of(const Scratch& scratch, const fs::path& tokenizer) {
  BuildOptions options;
  std::string text = long_document();
  for (unsigned i = 0; i < 60; ++i) text += "\n<|endoftext|>\n" + test::prose(3, i * 31 + 7);
  options.texts = {scratch.file("text.txt", text)};
  options.output = scratch / "corpus";
  options.tokenizer_path = tokenizer;
  options.split.held_out = 0.05;
  return options;
}

class CorpusTokenizer : public testing::TestWithParam<std::string> {};

TEST_P(CorpusTokenizer, IsKeptAndGivesTheIdsOfWholeDocuments) {
  const Scratch scratch;
  const BuildOptions options = options_of(scratch, fixture(GetParam()));
  const BuildResult built = build_corpus(options);
  const Corpus corpus = Corpus::open(options.output);
  const Tokenizer tokenizer = Tokenizer::load(corpus.tokenizer_file);
  EXPECT_EQ(tokenizer.fingerprint(), Tokenizer::load(fixture(GetParam())).fingerprint());
  EXPECT_EQ(built.tokenizer_fingerprint, tokenizer.fingerprint());
  EXPECT_EQ(corpus.vocab_size, tokenizer.vocab_size());
  const auto json = nlohmann::json::parse(content_of(options.output / "corpus.json"));
  EXPECT_EQ(json["tokenizer"]["file"], corpus.tokenizer_file.filename().string());

  const auto begins = corpus.train.documents();
  std::vector<std::int32_t> ids(begins[1]);
  corpus.train.read(0, ids, corpus.vocab_size);
  ASSERT_GT(ids.size(), 30'000u) << "the long document is not the first";
  std::vector<std::int32_t> expected = tokenizer.encode(long_document());
  expected.insert(expected.begin(), tokenizer.bos());
  EXPECT_EQ(ids, expected);

  BuildOptions again = options;
  again.tokenizer_path = options.output;  // a corpus is a directory with a tokenizer
  again.output = scratch / "again";
  build_corpus(again);
  EXPECT_EQ(content_of(scratch / "again/train.tokens"), content_of(options.output / "train.tokens"));
}

INSTANTIATE_TEST_SUITE_P(Data, CorpusTokenizer,
                         testing::Values("gpt2", "opt", "llama-3", "phi-4", "falcon", "llama-2", "llama-2-metaspace",
                                         "gemma", "sentencepiece"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(CorpusTokenizerErrors, ATokenizerWithoutBosIsRefused) {
  const Scratch scratch;
  const BuildOptions options = options_of(scratch, fixture("qwen-2"));
  expect_error([&] { build_corpus(options); }, ExitCode::bad_data, {"qwen-2/tokenizer.json has no BOS"});
  EXPECT_FALSE(fs::exists(options.output));
}

TEST(CorpusTokenizerErrors, AnotherTokenizerInItsPlaceIsNoticed) {
  const Scratch scratch;
  const BuildOptions options = options_of(scratch, fixture("gpt2"));
  build_corpus(options);
  scratch.file("corpus/tokenizer.json", content_of(fixture("llama-3") / "tokenizer.json"));
  expect_error([&] { Corpus::open(options.output); }, ExitCode::bad_data, {"were made by tokenizer"});
}

}  // namespace
}  // namespace headroom
