// Which sequences a snapshot looks at: sentences and held-out windows, with and without BOS, and every way not to have
// them.
#include "analysis/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "base/error.h"
#include "data/token_writer.h"
#include "tests/data/support.h"
#include "tests/source_dir.h"

namespace headroom {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int32_t kVocabulary = 400;

// The Error that `action` throws; a test failure if it throws none.
Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return {ExitCode::done, ""};
}

class ProbeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new test::Scratch;
    TokenizerTraining options;
    options.vocab_size = kVocabulary;
    train_tokenizer({scratch_->file("text.txt", test::prose(400))}, options, *scratch_ / "tokenizer.model");
  }
  static void TearDownTestSuite() {
    delete scratch_;
    scratch_ = nullptr;
  }

  const Tokenizer tokenizer_ = Tokenizer::load(*scratch_ / "tokenizer.model");

  // A token file of documents of these lengths, each BOS and then ids that count up from 10 over all documents.
  TokenFile documents(const std::vector<int>& lengths) const {
    const auto path = *scratch_ / "valid.tokens";
    TokenWriter writer(path, kVocabulary, tokenizer_.fingerprint());
    std::int32_t next = 10;
    for (const int length : lengths) {
      writer.begin_document();
      std::vector<std::int32_t> ids = {tokenizer_.bos()};
      for (int i = 1; i < length; ++i) ids.push_back(10 + next++ % 380);
      writer.write(ids);
    }
    writer.finish();
    return TokenFile::open(path);
  }

  static SnapshotConfig config(std::vector<std::string> sentences, std::int64_t windows, std::int64_t tokens) {
    SnapshotConfig config;
    config.sentences = std::move(sentences);
    config.calibration_sequences = windows;
    config.calibration_tokens = tokens;
    return config;
  }

  inline static test::Scratch* scratch_ = nullptr;
};

TEST_F(ProbeTest, SentencesThenWindowsEachWithAndWithoutBos) {
  const TokenFile held_out = documents({50, 50});
  const ProbeSet probe =
      build_probe_set(config({"the old river", "winter light"}, 2, 8), held_out, &tokenizer_, 32, kVocabulary);
  ASSERT_EQ(probe.sequences.size(), 8u);
  EXPECT_TRUE(probe.notes.empty());
  for (std::size_t i = 0; i < 8; ++i) {
    const ProbeSequence& s = probe.sequences[i];
    EXPECT_EQ(s.bos, i % 2 == 0);
    EXPECT_EQ(s.kind, i < 4 ? ProbeKind::sentence : ProbeKind::calibration);
    EXPECT_EQ(std::count(s.ids.begin(), s.ids.end(), tokenizer_.bos()), s.bos ? 1 : 0);
    EXPECT_EQ(s.ids.front() == tokenizer_.bos(), s.bos);
    ASSERT_EQ(s.pieces.size(), s.ids.size());
    EXPECT_EQ(s.pieces.back(), tokenizer_.piece(s.ids.back()));
    if (i >= 4) {
      EXPECT_EQ(s.ids.size(), 8u);
    }
  }
  EXPECT_EQ(probe.sequences[0].text, "the old river");
  EXPECT_EQ(probe.sequences[1].ids, tokenizer_.encode("the old river"));
  // The window's form with BOS is BOS and the same tokens, one less.
  const auto& with = probe.sequences[4].ids;
  const auto& without = probe.sequences[5].ids;
  EXPECT_TRUE(std::equal(with.begin() + 1, with.end(), without.begin()));
}

TEST_F(ProbeTest, WindowsLieInsideDocumentsAndSpreadOverAll) {
  // 1 + 20 tokens hold two windows of 8, 1 + 5 none, 1 + 8 one, 1 + 17 two: five in all.
  const TokenFile held_out = documents({21, 6, 9, 18});
  const auto starts = [&](std::int64_t wanted) {
    std::vector<std::int32_t> first;
    for (const auto& s : build_probe_set(config({}, wanted, 8), held_out, &tokenizer_, 32, kVocabulary).sequences) {
      if (!s.bos) first.push_back(s.ids[0] - 20);  // how many words lie before
    }
    return first;
  };
  EXPECT_THAT(starts(5), ElementsAre(0, 8, 25, 33, 41));
  EXPECT_THAT(starts(2), ElementsAre(0, 25));
  EXPECT_THAT(starts(9), ElementsAre(0, 8, 25, 33, 41));
  const ProbeSet short_of = build_probe_set(config({}, 9, 8), held_out, &tokenizer_, 32, kVocabulary);
  ASSERT_EQ(short_of.notes.size(), 1u);
  EXPECT_THAT(short_of.notes[0], HasSubstr("only 5 of 9"));
}

TEST_F(ProbeTest, TheSameArgumentsGiveTheSameSequences) {
  const TokenFile held_out = documents({50, 70});
  const auto build = [&] { return build_probe_set(config({"people"}, 3, 8), held_out, &tokenizer_, 32, kVocabulary); };
  const ProbeSet first = build();
  const ProbeSet second = build();
  ASSERT_EQ(first.sequences.size(), second.sequences.size());
  for (std::size_t i = 0; i < first.sequences.size(); ++i) {
    EXPECT_EQ(first.sequences[i].ids, second.sequences[i].ids);
  }
}

TEST_F(ProbeTest, WindowsAreNoLongerThanTheModelsContext) {
  const TokenFile held_out = documents({50});
  for (const auto& s : build_probe_set(config({}, 2, 128), held_out, &tokenizer_, 16, kVocabulary).sequences) {
    EXPECT_EQ(s.ids.size(), 16u);
  }
}

TEST_F(ProbeTest, ShortDocumentsAreCrossedWithANote) {
  const TokenFile held_out = documents({4, 4, 4, 4, 4});
  const ProbeSet probe = build_probe_set(config({}, 2, 8), held_out, &tokenizer_, 32, kVocabulary);
  EXPECT_EQ(probe.sequences.size(), 4u);
  ASSERT_EQ(probe.notes.size(), 1u);
  EXPECT_THAT(probe.notes[0], HasSubstr("no document has 8 tokens"));
}

TEST_F(ProbeTest, WithoutATokenizerOnlyWindowsRemain) {
  const TokenFile held_out = documents({50});
  SnapshotConfig defaults;
  defaults.calibration_sequences = 2;
  defaults.calibration_tokens = 8;
  const ProbeSet probe = build_probe_set(defaults, held_out, nullptr, 32, kVocabulary);
  ASSERT_EQ(probe.sequences.size(), 2u);
  EXPECT_FALSE(probe.sequences[0].bos);
  EXPECT_EQ(probe.sequences[0].pieces[3], std::to_string(probe.sequences[0].ids[3]));
  EXPECT_EQ(probe.sequences[0].text, "");
  EXPECT_EQ(probe.notes.size(), 2u);
  const Error error = error_of([&] { build_probe_set(config({"mine"}, 2, 8), held_out, nullptr, 32, kVocabulary); });
  EXPECT_EQ(error.code(), ExitCode::bad_config);
  EXPECT_THAT(error.what(), HasSubstr("snapshot.sentences needs a tokenizer"));
}

TEST_F(ProbeTest, WithoutABosThereAreOnlyFormsWithoutOne) {
  const Tokenizer qwen =
      Tokenizer::load(std::filesystem::path(test::source_dir()) / "tests/fixtures/tokenizers/qwen-2");
  const auto path = *scratch_ / "qwen.tokens";
  TokenWriter writer(path, qwen.vocab_size(), qwen.fingerprint());
  writer.begin_document();
  writer.write(
      qwen.encode("The quick brown fox jumps over the lazy dog, and the dog doesn't care. It's what they'll do."));
  writer.finish();
  const ProbeSet probe =
      build_probe_set(config({"the lazy dog"}, 2, 8), TokenFile::open(path), &qwen, 32, qwen.vocab_size());
  ASSERT_GE(probe.sequences.size(), 2u);
  for (const auto& s : probe.sequences) EXPECT_FALSE(s.bos);
  EXPECT_EQ(probe.sequences[0].text, "the lazy dog");
  EXPECT_THAT(probe.notes, ElementsAre(HasSubstr("has no BOS")));
}

TEST_F(ProbeTest, WhatCannotBeIsRefused) {
  const TokenFile held_out = documents({50});
  const auto code = [&](const SnapshotConfig& c, std::int64_t seq_len, std::int64_t vocabulary) {
    return error_of([&] { build_probe_set(c, held_out, &tokenizer_, seq_len, vocabulary); }).code();
  };
  EXPECT_EQ(code(config({"the old river carries stories from the mountain"}, 0, 8), 4, kVocabulary),
            ExitCode::bad_config);
  EXPECT_EQ(code(config({""}, 0, 8), 32, kVocabulary), ExitCode::bad_config);
  EXPECT_EQ(code(config({}, 0, 8), 32, kVocabulary), ExitCode::bad_config);
  EXPECT_EQ(code(config({"the river"}, 0, 8), 32, 5), ExitCode::bad_config);
  EXPECT_EQ(code(config({}, 2, 128), 64, kVocabulary), ExitCode::bad_data);
}

}  // namespace
}  // namespace headroom
