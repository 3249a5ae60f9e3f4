// From text files to a corpus directory and back, with every way it can go wrong.
#include "data/build_corpus.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <csignal>

#include <nlohmann/json.hpp>
#include <set>

#include "base/hash.h"
#include "data/corpus.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using test::content_of;
using test::expect_error;
using test::Scratch;

// 240 documents of 1 to 9 sentences, all different.
std::string many_documents() {
  std::string text;
  for (unsigned i = 0; i < 240; ++i) text += test::prose(static_cast<int>(1 + i % 9), i * 977 + 5) + "<|endoftext|>\n";
  return text;
}

BuildOptions small_options(const Scratch& scratch, const std::vector<std::filesystem::path>& texts) {
  BuildOptions options;
  options.texts = texts;
  options.output = scratch / "corpus";
  options.tokenizer.vocab_size = 360;
  options.split.held_out = 0.05;
  return options;
}

// The documents of a split, decoded; each must begin with BOS.
std::vector<std::string> documents_of(const TokenFile& tokens, const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  const auto begins = tokens.documents();
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const std::uint64_t end = i + 1 < begins.size() ? begins[i + 1] : tokens.size();
    std::vector<std::int32_t> ids(end - begins[i]);
    tokens.read(begins[i], ids, tokenizer.vocab_size());
    EXPECT_EQ(ids.at(0), tokenizer.bos());
    EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer.bos()), 1);
    ids.erase(ids.begin());
    texts.push_back(tokenizer.decode(ids));
  }
  return texts;
}

std::vector<std::string> source_documents(const std::filesystem::path& text) {
  DocumentReader reader({text}, {});
  std::vector<std::string> documents;
  for (DocumentPart part; reader.next(part);) {
    if (part.first) documents.emplace_back();
    documents.back() += part.text;
  }
  return documents;
}

TEST(BuildCorpus, EveryDocumentIsInExactlyOneSplitInItsOrder) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  const BuildResult result = build_corpus(small_options(scratch, {text}));
  const Corpus corpus = Corpus::open(scratch / "corpus");
  const Tokenizer tokenizer = Tokenizer::load(corpus.tokenizer_file);
  EXPECT_EQ(corpus.vocab_size, 360);
  const auto train = documents_of(corpus.train, tokenizer);
  const auto valid = documents_of(corpus.valid, tokenizer);
  const std::set<std::string> held_out(valid.begin(), valid.end());
  std::vector<std::string> expected_train, expected_valid;
  for (const std::string& document : source_documents(text)) {
    (held_out.contains(document) ? expected_valid : expected_train).push_back(document);
  }
  EXPECT_EQ(train, expected_train);
  EXPECT_EQ(valid, expected_valid);
  EXPECT_EQ(train.size() + valid.size(), 240u);
  EXPECT_GE(valid.size(), 3u);  // 5 % would be 12
  EXPECT_LE(valid.size(), 25u);
  EXPECT_EQ(result.train.documents, train.size());
  EXPECT_EQ(result.valid.tokens, corpus.valid.size());
  EXPECT_TRUE(result.warnings.empty());
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus.partial"));
}

TEST(BuildCorpus, IsTheSameWithAnyNumberOfThreads) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents() + test::prose(9000, 3));
  BuildOptions options = small_options(scratch, {text});
  build_corpus(options);
  for (const int threads : {2, 5}) {
    options.output = scratch / "again";
    options.overwrite = true;
    options.threads = threads;
    build_corpus(options);
    for (const char* file : {"train.tokens", "valid.tokens", "tokenizer.model"}) {
      EXPECT_EQ(content_of(scratch / "again" / file), content_of(scratch / "corpus" / file)) << file;
    }
  }
}

TEST(BuildCorpus, DescribesItself) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  const BuildResult result = build_corpus(small_options(scratch, {text}));
  const auto json = nlohmann::json::parse(content_of(scratch / "corpus" / "corpus.json"));
  EXPECT_EQ(json["format"], "headroom-corpus");
  EXPECT_EQ(json["tokenizer"]["fingerprint"], result.tokenizer_fingerprint);
  EXPECT_EQ(json["tokenizer"]["fingerprint"], hex_hash(content_of(scratch / "corpus" / "tokenizer.model")));
  EXPECT_EQ(json["train"]["tokens"], result.train.tokens);
  EXPECT_EQ(json["valid"]["documents"], result.valid.documents);
  EXPECT_EQ(json["sources"][0]["file"], text.string());
  EXPECT_EQ(json["sources"][0]["bytes"], std::filesystem::file_size(text));
  EXPECT_EQ(json["sources"][0]["xxh64"], hex_hash(content_of(text)));
}

TEST(BuildCorpus, ProgressReachesTheEndOfEveryStage) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> stages;
  build_corpus(small_options(scratch, {text}), [&](const std::string& stage, std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, stages[stage].first);
    stages[stage] = {done, total};
  });
  for (const char* stage : {"reading", "training tokenizer", "encoding"}) {
    EXPECT_EQ(stages[stage].first, std::filesystem::file_size(text)) << stage;
    EXPECT_EQ(stages[stage].second, std::filesystem::file_size(text)) << stage;
  }
}

TEST(BuildCorpus, TakesAGivenTokenizer) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  BuildOptions options = small_options(scratch, {text});
  build_corpus(options);
  options.tokenizer_path = scratch / "corpus/tokenizer.model";
  options.output = scratch / "second";
  build_corpus(options);
  EXPECT_EQ(content_of(scratch / "second/train.tokens"), content_of(scratch / "corpus/train.tokens"));
  options.tokenizer_path = text;
  options.output = scratch / "third";
  expect_error([&] { build_corpus(options); }, ExitCode::bad_data, {"SentencePiece"});
}

TEST(BuildCorpus, ASingleDocumentIsHeldOutAtItsEnd) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", test::prose(1500));
  const BuildResult result = build_corpus(small_options(scratch, {text}));
  const Corpus corpus = Corpus::open(scratch / "corpus");
  const Tokenizer tokenizer = Tokenizer::load(corpus.tokenizer_file);
  const auto train = documents_of(corpus.train, tokenizer);
  const auto valid = documents_of(corpus.valid, tokenizer);
  ASSERT_EQ(train.size(), 1u);
  ASSERT_EQ(valid.size(), 1u);
  EXPECT_EQ(train[0] + "\n" + valid[0], source_documents(text)[0]);
  const double share = static_cast<double>(valid[0].size()) / static_cast<double>(train[0].size() + valid[0].size());
  EXPECT_NEAR(share, 0.05, 0.03);
  EXPECT_EQ(result.train.documents + result.valid.documents, 2u);
}

TEST(BuildCorpus, OfTwoDocumentsOneIsHeldOut) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", test::prose(300, 1) + "<|endoftext|>\n" + test::prose(300, 2));
  const BuildResult result = build_corpus(small_options(scratch, {text}));
  EXPECT_EQ(result.train.documents, 1u);
  EXPECT_EQ(result.valid.documents, 1u);
}

TEST(BuildCorpus, CopiesOfADocumentStayOnOneSideOrGo) {
  const Scratch scratch;
  const std::string once = many_documents();
  const auto text = scratch.file("text.txt", once + once);
  BuildOptions options = small_options(scratch, {text});
  const BuildResult both = build_corpus(options);
  const Corpus corpus = Corpus::open(options.output);
  const Tokenizer tokenizer = Tokenizer::load(corpus.tokenizer_file);
  const auto train = documents_of(corpus.train, tokenizer);
  const auto valid = documents_of(corpus.valid, tokenizer);
  const std::set<std::string> trained(train.begin(), train.end());
  for (const std::string& document : valid) EXPECT_FALSE(trained.contains(document));
  EXPECT_EQ(both.train.documents + both.valid.documents, 480u);

  options.output = scratch / "unique";
  options.split.drop_duplicates = true;
  const BuildResult unique = build_corpus(options);
  EXPECT_EQ(unique.duplicates, 240u);
  EXPECT_EQ(unique.train.documents * 2, both.train.documents);
  EXPECT_EQ(unique.valid.documents * 2, both.valid.documents);
}

TEST(BuildCorpus, InvalidUtf8IsAWarningThatSaysWhere) {
  const Scratch scratch;
  const std::string before = many_documents();
  const auto text = scratch.file("text.txt", before + "caf\xE9\n");
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const BuildResult result = build_corpus(small_options(scratch, {text}));
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_THAT(result.warnings[0],
              testing::AllOf(testing::HasSubstr("text.txt: 1 invalid UTF-8"),
                             testing::HasSubstr(fmt::format("byte {} (line {})", before.size() + 3, line))));
}

TEST(BuildCorpus, AVocabularyTheTextCannotFillIsAWarning) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  BuildOptions options = small_options(scratch, {text});
  options.tokenizer.vocab_size = 8192;
  const BuildResult result = build_corpus(options);
  EXPECT_LT(result.vocab_size, 1000);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_THAT(result.warnings[0], testing::HasSubstr("not the 8192 asked for"));
}

TEST(BuildCorpus, RefusesTextsItCannotUse) {
  const Scratch scratch;
  const auto empty = scratch.file("empty.txt", "");
  expect_error([&] { build_corpus(small_options(scratch, {empty})); }, ExitCode::bad_data, {"no text"});
  expect_error([&] { build_corpus(small_options(scratch, {})); }, ExitCode::bad_data, {"no text files"});
  expect_error([&] { build_corpus(small_options(scratch, {scratch / "none"})); }, ExitCode::bad_data, {"none"});
  const auto line = scratch.file("line.txt", "just the one line");
  BuildOptions options = small_options(scratch, {line});
  expect_error([&] { build_corpus(options); }, ExitCode::bad_data, {"too small"});
  options.split.held_out = 0.7;
  expect_error([&] { build_corpus(options); }, ExitCode::usage, {"0.7"});
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus"));
}

TEST(BuildCorpus, NeverReplacesAnythingUnasked) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  BuildOptions options = small_options(scratch, {text});
  build_corpus(options);
  const std::string before = content_of(scratch / "corpus/corpus.json");
  expect_error([&] { build_corpus(options); }, ExitCode::usage, {"corpus exists already"});
  EXPECT_EQ(content_of(scratch / "corpus/corpus.json"), before);

  options.overwrite = true;
  options.split.held_out = 0.1;
  build_corpus(options);
  EXPECT_NE(content_of(scratch / "corpus/corpus.json"), before);
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus.partial"));
  Corpus::open(scratch / "corpus");

  // A directory with anything else in it is not ours to replace.
  scratch.file("corpus/notes.md", "mine");
  expect_error([&] { build_corpus(options); }, ExitCode::usage, {"notes.md"});
  options.output = scratch.path();
  expect_error([&] { build_corpus(options); }, ExitCode::usage, {"no part of a corpus"});
  options.output = text;
  expect_error([&] { build_corpus(options); }, ExitCode::usage, {"no directory"});
  EXPECT_EQ(content_of(scratch / "corpus/notes.md"), "mine");
}

TEST(BuildCorpus, BeginsAfreshAfterAnInterruption) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  BuildOptions options = small_options(scratch, {text});
  build_corpus(options);
  const std::string expected = content_of(scratch / "corpus/train.tokens");
  std::filesystem::rename(scratch / "corpus", scratch / "first");

  struct Interruption {};
  const auto interrupt = [](const std::string& stage, std::uint64_t done, std::uint64_t total) {
    if (stage == "encoding" && done == total) throw Interruption{};
  };
  EXPECT_THROW(build_corpus(options, interrupt), Interruption);
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus.partial"));

  // What a killed build leaves.
  scratch.file("corpus.partial/tokenizer.model", "half a model");
  scratch.file("corpus.partial/train.tokens", "half of the tokens");
  expect_error([&] { Corpus::open(scratch / "corpus"); }, ExitCode::bad_data, {"not finished"});
  build_corpus(options);
  EXPECT_EQ(content_of(scratch / "corpus/train.tokens"), expected);
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus.partial"));
}

TEST(BuildCorpus, IsAloneAtItsPlace) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  scratch.file("corpus.partial/lock", "");
  const int lock = ::open((scratch / "corpus.partial/lock").c_str(), O_RDWR);
  ASSERT_EQ(::flock(lock, LOCK_EX), 0);
  expect_error([&] { build_corpus(small_options(scratch, {text})); }, ExitCode::busy, {"another process"});
  ::close(lock);
  build_corpus(small_options(scratch, {text}));
}

// A limit on file sizes stands in for a disk that is full: it fails the same write in the same way, without rights.
TEST(BuildCorpus, ADiskThatIsFullLeavesNoCorpus) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", test::prose(20000));
  BuildOptions options = small_options(scratch, {text});
  options.output = scratch / "good";
  build_corpus(options);
  options.tokenizer_path = scratch / "good/tokenizer.model";
  options.output = scratch / "corpus";
  const auto build_on_small_disk = [&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) std::_Exit(101);
    try {
      build_corpus(options);
    } catch (const Error& error) {
      fmt::print(stderr, "{}\n", error.what());
      std::_Exit(static_cast<int>(error.code()));
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(build_on_small_disk(), testing::ExitedWithCode(static_cast<int>(ExitCode::disk_full)),
              "cannot write .*train.tokens");
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus"));
  build_corpus(options);  // and nothing stands in the way of another try
  EXPECT_EQ(content_of(scratch / "corpus/train.tokens"), content_of(scratch / "good/train.tokens"));
}

TEST(BuildCorpus, NoticesTextThatChangesMeanwhile) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  const auto change = [&](const std::string& stage, std::uint64_t, std::uint64_t) {
    if (stage == "training tokenizer") scratch.file("text.txt", many_documents() + "more\n");
  };
  expect_error([&] { build_corpus(small_options(scratch, {text}), change); }, ExitCode::bad_data, {"changed"});
}

TEST(CorpusOpen, WrongOrDamagedPartsAreRefused) {
  const Scratch scratch;
  const auto text = scratch.file("text.txt", many_documents());
  BuildOptions options = small_options(scratch, {text});
  build_corpus(options);
  options.output = scratch / "other";
  options.tokenizer.vocab_size = 350;
  build_corpus(options);
  const auto expect_refused = [&](const char* file, const std::string& content, const std::string& why) {
    const std::string original = content_of(scratch / "corpus" / file);
    scratch.file(std::string("corpus/") + file, content);
    expect_error([&] { Corpus::open(scratch / "corpus"); }, ExitCode::bad_data, {why});
    scratch.file(std::string("corpus/") + file, original);
    Corpus::open(scratch / "corpus");
  };
  const auto other = [&](const char* file) { return content_of(scratch / "other" / file); };
  expect_refused("tokenizer.model", other("tokenizer.model"), "its tokens were made by tokenizer");
  expect_refused("valid.tokens", other("valid.tokens"), "a vocabulary of 350");
  expect_refused("corpus.json", other("corpus.json"), "names tokenizer");
  expect_refused("corpus.json", "{\"tokenizer\": 3}", "damaged");
  expect_refused("corpus.json", "{", "damaged");
  expect_refused("tokenizer.model", "", "tokenizer.model");
  expect_refused("train.tokens", content_of(scratch / "corpus/train.tokens").substr(0, 1000), "train.tokens");
}

TEST(CorpusOpen, FilesNeedAHeldOutOne) {
  const Scratch scratch;
  const auto train = scratch.file("train.bin", test::bytes_of<std::uint16_t>({1, 2, 60000}));
  const auto valid = scratch.file("val.bin", test::bytes_of<std::uint16_t>({4, 5}));
  const Corpus corpus = Corpus::open(train, valid);
  EXPECT_EQ(corpus.train.size(), 3u);
  EXPECT_EQ(corpus.valid.size(), 2u);
  EXPECT_EQ(corpus.vocab_size, 0);
  EXPECT_TRUE(corpus.tokenizer_file.empty());
  expect_error([&] { Corpus::open(train); }, ExitCode::bad_data, {"train.bin", "held-out"});
  expect_error([&] { Corpus::open(scratch / "nowhere"); }, ExitCode::bad_data, {"nowhere", "no such corpus"});
  expect_error([&] { Corpus::open(scratch.path()); }, ExitCode::bad_data, {"corpus.json"});
  expect_error([&] { Corpus::open(scratch.path(), valid); }, ExitCode::bad_data, {"held-out split"});
}

}  // namespace
}  // namespace headroom
