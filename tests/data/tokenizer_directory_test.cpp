// Which files of a directory make the tokenizer, what those beside it say, and what its fingerprint covers.
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "data/tokenizer.h"
#include "data/word_cut.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using nlohmann::json;
using test::expect_error;
using test::Scratch;
using Ids = std::vector<std::int32_t>;

json tokenizer_json() {
  return json::parse(R"({"version": "1.0",
    "added_tokens": [{"id": 3, "content": "<s>", "normalized": false}, {"id": 4, "content": "</s>", "normalized": false}],
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

class TokenizerDirectory : public testing::Test {
 protected:
  void put(const std::string& name, const json& content) const { scratch_.file("d/" + name, content.dump()); }
  void put_vocab(const std::string& merges = "#version: 0.2\na b\n") const {
    put("vocab.json", {{"a", 0}, {"b", 1}, {"ab", 2}, {"<|endoftext|>", 3}, {"</s>", 4}});
    scratch_.file("d/merges.txt", merges);
  }
  Tokenizer load(const std::string& name = "d") const { return Tokenizer::load(scratch_ / name); }
  void expect_refused(const std::vector<std::string>& parts) const {
    expect_error([&] { load(); }, ExitCode::bad_data, parts);
  }

  Scratch scratch_;
};

TEST_F(TokenizerDirectory, TokenizerJsonCountsFirst) {
  put_vocab("#version: 0.2\n");
  EXPECT_EQ(load().encode("ab"), (Ids{0, 1}));
  scratch_.file("d/tokenizer.model", "no model");
  expect_refused({"tokenizer.model", "SentencePiece"});
  put("tokenizer.json", tokenizer_json());
  EXPECT_EQ(load().encode("ab"), Ids{2});
  EXPECT_EQ(load("d/tokenizer.json").encode("ab"), Ids{2});
  EXPECT_EQ(load("d/vocab.json").encode("ab"), (Ids{0, 1}));
}

TEST_F(TokenizerDirectory, NothingInItIsAnError) {
  put("config.json", json::object());
  expect_refused({"/d holds no tokenizer", "tokenizer.json"});
  put("vocab.json", {{"a", 0}});
  expect_refused({"vocab.json", "no merges.txt"});
  expect_error([&] { load("nowhere"); }, ExitCode::bad_data, {"nowhere", "No such file"});
}

TEST_F(TokenizerDirectory, BosIsWhatTheFirstFileSays) {
  put("tokenizer.json", tokenizer_json());
  EXPECT_FALSE(load().has_bos());
  put("config.json", {{"bos_token_id", 4}, {"eos_token_id", {3, 4}}});
  EXPECT_EQ(load().bos(), 4);
  put("special_tokens_map.json", {{"bos_token", {{"content", "<s>"}, {"lstrip", false}}}});
  EXPECT_EQ(load().bos(), 3);
  put("tokenizer_config.json", {{"bos_token", nullptr}});
  EXPECT_FALSE(load().has_bos());
  put("tokenizer_config.json", {{"bos_token", "<none>"}});
  EXPECT_FALSE(load().has_bos());
  expect_error([&] { load().bos(); }, ExitCode::bad_data, {"'<none>'", "tokenizer.json does not have"});
}

TEST_F(TokenizerDirectory, WhatGoesAroundATextIsThePostProcessorsToSay) {
  put("tokenizer.json", tokenizer_json());
  put("tokenizer_config.json", {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  EXPECT_EQ(load().encode_with_special("ab"), Ids{2});
  put("tokenizer_config.json",
      {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"add_bos_token", true}, {"add_eos_token", true}});
  EXPECT_EQ(load().encode_with_special("ab"), (Ids{3, 2, 4}));
  json with_template = tokenizer_json();
  with_template["post_processor"] = json::parse(R"({"type": "TemplateProcessing", "pair": [],
    "single": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}})");
  put("tokenizer.json", with_template);
  EXPECT_EQ(load().encode_with_special("ab"), Ids{2});
}

TEST_F(TokenizerDirectory, VocabAndMergesHaveGpt2sTokens) {
  put_vocab();
  EXPECT_EQ(load().encode("ab<|endoftext|>a"), (Ids{2, 3, 0}));
  EXPECT_EQ(load().bos(), 3);
  EXPECT_EQ(load().encode_with_special("ab"), Ids{2});
  put("tokenizer_config.json", {{"bos_token", "</s>"}, {"add_bos_token", true}, {"pad_token", "<pad>"}});
  const Tokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.bos(), 4);
  EXPECT_EQ(tokenizer.encode_with_special("ab</s><pad>"), (Ids{4, 2, 4, 5}));
  EXPECT_EQ(tokenizer.vocab_size(), 6);
  put("added_tokens.json", {{"<more>", 5}});  // numbered ones go first
  EXPECT_EQ(load().encode("<more><pad>"), (Ids{5, 6}));
  put("added_tokens.json", {{"<more>", 9}});
  expect_refused({"vocab.json: added_tokens", "'<more>' is said to be id 9"});
}

TEST_F(TokenizerDirectory, DamagedFilesAreNamedWithTheirLine) {
  put_vocab("#version: 0.2\na b\nab\n");
  expect_refused({"merges.txt: line 3"});
  put_vocab("a b\r\nb\xff a\n");
  expect_refused({"merges.txt: line 2: no UTF-8"});
  put_vocab("a c\n");
  expect_refused({"vocab.json: model.merges[0]: 'c' is no token"});
  put("vocab.json", json::array());
  expect_refused({"vocab.json", "expected an object"});
  put("tokenizer.json", tokenizer_json());
  scratch_.file("d/tokenizer_config.json", "{");
  expect_refused({"tokenizer_config.json", "no JSON"});
  put("tokenizer_config.json", {{"bos_token", 3}});
  expect_refused({"tokenizer_config.json: bos_token: expected an object"});
  put("tokenizer_config.json", {{"add_bos_token", "yes"}});
  expect_refused({"tokenizer_config.json: add_bos_token"});
  put("tokenizer_config.json", {{"added_tokens_decoder", {{"x", {{"content", "<x>"}}}}}});
  expect_refused({"added_tokens_decoder.x: its key is no token id"});
}

TEST_F(TokenizerDirectory, TheFingerprintCoversWhatOtherFilesAdd) {
  put("tokenizer.json", tokenizer_json());
  const std::string alone = load().fingerprint();
  EXPECT_EQ(alone, hex_hash(test::content_of(scratch_ / "d/tokenizer.json")));
  put("tokenizer_config.json", {{"model_max_length", 1024}});
  EXPECT_EQ(load().fingerprint(), alone);
  put("tokenizer_config.json", {{"bos_token", "<s>"}});
  const std::string with_bos = load().fingerprint();
  EXPECT_NE(with_bos, alone);
  EXPECT_EQ(load("d/tokenizer.json").fingerprint(), with_bos);
  put("tokenizer_config.json", {{"bos_token", "<s>"}, {"chat_template", "..."}});
  EXPECT_EQ(load().fingerprint(), with_bos);
}

TEST_F(TokenizerDirectory, ACopyIsTheSameTokenizer) {
  put_vocab();
  put("tokenizer_config.json", {{"bos_token", "</s>"}});
  std::filesystem::create_directories(scratch_ / "copy");
  EXPECT_EQ(load().copy_to(scratch_ / "copy"), "vocab.json");
  EXPECT_EQ(load("copy").fingerprint(), load().fingerprint());
  const auto renamed = scratch_.file("mine.json", tokenizer_json().dump());
  EXPECT_EQ(Tokenizer::load(renamed).copy_to(scratch_ / "copy"), "tokenizer.json");
}

TEST_F(TokenizerDirectory, ASentencePieceModelHasNoTokensBesideIt) {
  const auto text = scratch_.file("text.txt", test::prose(300));
  std::filesystem::create_directories(scratch_ / "d");
  train_tokenizer({text}, {.vocab_size = 300, .sample_bytes = 0, .format = {}}, scratch_ / "d/tokenizer.model");
  EXPECT_EQ(load().before(), Ids{1});
  const std::string alone = load().fingerprint();
  EXPECT_EQ(alone, hex_hash(test::content_of(scratch_ / "d/tokenizer.model")));
  put("tokenizer_config.json", {{"add_bos_token", false}, {"add_eos_token", true}, {"bos_token", "<s>"}});
  EXPECT_EQ(load().before(), Ids{});
  EXPECT_EQ(load().after(), Ids{2});
  EXPECT_NE(load().fingerprint(), alone);
  put("tokenizer_config.json", {{"pad_token", "<pad>"}});
  expect_refused({"tokenizer.model lacks '<pad>'"});
  put("tokenizer_config.json", {{"added_tokens_decoder", {{"7", {{"content", "<s>"}}}}}});
  expect_refused({"tokenizer.model has id 1 for '<s>' (id 7)"});
}

TEST(WordCut, IsTheLastBlankBetweenLetters) {
  EXPECT_EQ(last_word_cut("one two three"), 7u);
  EXPECT_EQ(last_word_cut("one two 3"), 3u);
  EXPECT_EQ(last_word_cut("\u00e9 \u00e9 . x "), 2u);
  EXPECT_EQ(last_word_cut("a  b"), 4u);
  EXPECT_EQ(last_word_cut(" a"), 2u);
  EXPECT_EQ(last_word_cut("\u4e2d\u6587"), 6u);
  EXPECT_EQ(last_word_cut(""), 0u);
}

}  // namespace
}  // namespace headroom
