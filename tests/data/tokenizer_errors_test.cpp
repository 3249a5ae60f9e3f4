// A tokenizer.json that is damaged, lies or asks for what is not supported is refused with its file and key.
#include <nlohmann/json.hpp>

#include <functional>

#include "data/tokenizer.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using nlohmann::json;
using test::expect_error;
using test::Scratch;

json valid() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 4, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
              "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
              "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3}, "merges": ["a b"]}})");
}

void expect_refused_text(const std::string& text, const std::vector<std::string>& parts) {
  const Scratch scratch;
  const auto file = scratch.file("tokenizer.json", text);
  std::vector<std::string> all = parts;
  all.emplace_back("tokenizer.json");
  expect_error([&] { Tokenizer::load(file); }, ExitCode::bad_data, all);
}

// Changes the valid file at a JSON pointer.
void expect_refused(const std::string& pointer, const json& value, const std::vector<std::string>& parts) {
  SCOPED_TRACE(pointer + " = " + value.dump());
  json content = valid();
  content[json::json_pointer(pointer)] = value;
  expect_refused_text(content.dump(), parts);
}

void expect_refused_without(const std::string& pointer, const std::string& key, const std::vector<std::string>& parts) {
  SCOPED_TRACE(pointer + " without " + key);
  json content = valid();
  content[json::json_pointer(pointer)].erase(key);
  expect_refused_text(content.dump(), parts);
}

TEST(TokenizerErrors, TheValidFileIsRead) {
  const Scratch scratch;
  const Tokenizer tokenizer = Tokenizer::load(scratch.file("tokenizer.json", valid().dump()));
  EXPECT_EQ(tokenizer.encode_with_special("ab<s>c"), (std::vector<std::int32_t>{4, 2, 4, 3}));
}

TEST(TokenizerErrors, NoJson) {
  const std::string whole = valid().dump();
  for (const std::size_t bytes : {std::size_t{1}, whole.size() / 3, whole.size() / 2, whole.size() - 1}) {
    expect_refused_text(whole.substr(0, bytes), {"no JSON", "cut short"});
  }
  expect_refused_text(whole + "x", {"no JSON"});
  expect_refused_text("{\"model\": \"\xFF\"}", {"no JSON"});
  expect_refused_text("{\"model\": \"\\ud800\"}", {"no JSON"});
  expect_refused_text("{\"model\": 1e999}", {"number"});
  std::string deep = "{\"model\": ";
  for (int i = 0; i < 100'000; ++i) deep += '[';
  expect_refused_text(deep, {"100001 brackets inside each other"});
  expect_refused_text("{}", {"'model' is missing"});
}

TEST(TokenizerErrors, HugeFilesAreNotRead) {
  const Scratch scratch;
  const auto file = scratch.file("tokenizer.json", "{");
  std::filesystem::resize_file(file, std::uintmax_t{300} << 20);  // a hole: no disk is filled
  expect_error([&] { Tokenizer::load(file); }, ExitCode::bad_data, {"tokenizer.json", "314572800 bytes"});
}

TEST(TokenizerErrors, MissingKeysAndWrongTypes) {
  expect_refused_without("/model", "vocab", {"model: ", "'vocab' is missing"});
  expect_refused_without("/model", "merges", {"model: ", "'merges' is missing"});
  expect_refused_without("/pre_tokenizer/pretokenizers/0", "behavior", {"pretokenizers[0]: ", "'behavior'"});
  expect_refused_without("/pre_tokenizer/pretokenizers/1", "add_prefix_space", {"pretokenizers[1]: "});
  expect_refused_without("/added_tokens/0", "id", {"added_tokens[0]: ", "'id' is missing"});
  expect_refused_without("/post_processor", "special_tokens", {"post_processor: "});
  expect_refused_without("/normalizer", "type", {"normalizer: ", "'type'"});
  expect_refused("/model/vocab", 3, {"model.vocab: expected an object, found number"});
  expect_refused("/model/vocab", json::object(), {"model.vocab: no tokens"});
  expect_refused("/model/vocab/a", "0", {"model.vocab.a: expected a whole number"});
  expect_refused("/model/merges", "a b", {"model.merges: expected an array, found string"});
  expect_refused("/model/byte_fallback", 1, {"model.byte_fallback: expected true or false"});
  expect_refused("/added_tokens", json::object(), {"added_tokens: expected an array"});
  expect_refused("/added_tokens/0/content", 3, {"added_tokens[0].content: expected a string"});
  expect_refused("/added_tokens/0/lstrip", "no", {"added_tokens[0].lstrip"});
  expect_refused("/normalizer", "NFC", {"normalizer: expected an object"});
  expect_refused("/version", "2.0", {"version: version '2.0'"});
  expect_refused("/pre_tokenizer/pretokenizers/0/behavior", "Sideways", {"'Sideways'"});
}

TEST(TokenizerErrors, IdsThatCannotBe) {
  expect_refused("/model/vocab/c", 1, {"model.vocab: 'b' and 'c' are both id 1"});
  expect_refused("/model/vocab/c", -1, {"model.vocab.c"});
  expect_refused("/model/vocab/c", 1.5, {"model.vocab.c"});
  expect_refused("/model/vocab/c", 4294967296u, {"model.vocab.c: 4294967296"});
  expect_refused("/model/vocab/c", 2000000000, {"model.vocab: 4 tokens", "2000000000", "out of proportion"});
  expect_refused("/added_tokens/0/id", 7, {"added_tokens[0]: '<s>' is said to be id 7, but would be 4"});
  expect_refused("/added_tokens/0/content", "a", {"'a' is said to be id 4, but would be 0"});
  expect_refused("/post_processor/special_tokens/<s>/ids/0", 99, {"special_tokens.<s>.ids[0]: 99 is no token"});
  json twice = valid();
  twice["added_tokens"].push_back(twice["added_tokens"][0]);
  expect_refused_text(twice.dump(), {"added_tokens[1]: '<s>' is listed twice"});
  json in_a_hole = valid();
  in_a_hole["model"]["vocab"]["c"] = 4;
  expect_refused_text(in_a_hole.dump(), {"added_tokens[0]: id 4 is also 'c'"});
}

TEST(TokenizerErrors, MergesOfUnknownTokens) {
  expect_refused("/model/merges/0", "a x", {"model.merges[0]: 'x' is no token"});
  expect_refused("/model/merges/0", "b a", {"model.merges[0]: 'ba' is no token"});
  expect_refused("/model/merges/0", "ab", {"model.merges[0]: 'ab' is no two tokens"});
  expect_refused("/model/merges/0", "a  b", {"model.merges[0]"});
  expect_refused("/model/merges/0", {"a"}, {"model.merges[0]: expected two tokens"});
  expect_refused("/model/merges/0", {"a", 3}, {"model.merges[0]: expected two tokens"});
  expect_refused("/model/merges/0", 3, {"model.merges[0]: expected two tokens"});
}

TEST(TokenizerErrors, WhatIsNotSupportedIsNamed) {
  expect_refused("/model/type", "Unigram", {"model.type: the model 'Unigram' is not supported, only BPE"});
  expect_refused("/model/dropout", 0.1, {"model.dropout"});
  expect_refused("/model/end_of_word_suffix", "</w>", {"model.end_of_word_suffix"});
  expect_refused("/model/continuing_subword_prefix", "##", {"model.continuing_subword_prefix"});
  expect_refused("/model/max_input_chars_per_word", 100, {"model: the key 'max_input_chars_per_word'"});
  expect_refused("/extra", 1, {"the key 'extra' is not supported"});
  for (const char* kind : {"Precompiled", "Nmt", "BertNormalizer", "StripAccents"}) {
    expect_refused("/normalizer/type", kind, {"normalizer.type: the normalizer '" + std::string(kind)});
  }
  for (const char* kind : {"BertPreTokenizer", "Delimiter", "UnicodeScripts", "FixedLength"}) {
    expect_refused("/pre_tokenizer/pretokenizers/1/type", kind,
                   {"pre_tokenizer.pretokenizers[1].type: the pre-tokenizer '" + std::string(kind)});
  }
  for (const char* kind : {"WordPiece", "CTC", "BPEDecoder"}) {
    expect_refused("/decoder/type", kind, {"decoder.type: the decoder '" + std::string(kind)});
  }
  expect_refused("/post_processor/type", "Other", {"post_processor.type: the post-processor 'Other'"});
  expect_refused("/normalizer/form", "x", {"normalizer: the key 'form'"});
}

TEST(TokenizerErrors, TemplatesThatMakeNoText) {
  expect_refused("/post_processor/single", json::array(), {"post_processor.single: the text itself is missing"});
  expect_refused("/post_processor/single/1/Sequence/id", "B", {"post_processor.single[1].Sequence"});
  expect_refused("/post_processor/single/0/SpecialToken/id", "<x>", {"'<x>' is none of special_tokens"});
  expect_refused("/post_processor/single/0", 3, {"post_processor.single[0]: expected an object"});
  json twice = valid();
  twice["post_processor"]["single"].push_back(twice["post_processor"]["single"][1]);
  expect_refused_text(twice.dump(), {"the text is put twice"});
}

TEST(TokenizerErrors, PatternsThatCannotBeRead) {
  const std::string pattern = "/pre_tokenizer/pretokenizers/0/pattern";
  const std::string place = "pre_tokenizer.pretokenizers[0].pattern.Regex: the pattern";
  expect_refused(pattern + "/Regex", "(a", {place, "does not compile"});
  expect_refused(pattern + "/Regex", "(?<=a+)b", {place, "does not compile"});
  expect_refused(pattern + "/Regex", "a\\w", {place, "not supported: \\w is not taken, at its byte 1"});
  expect_refused(pattern + "/Regex", "", {"Regex: an empty pattern"});
  expect_refused(pattern, json::object(), {"pattern: expected one of 'String' and 'Regex'"});
  expect_refused(pattern, {{"String", "a"}, {"Regex", "a"}}, {"pattern: expected one of"});
  expect_refused(pattern, {{"Glob", "a"}}, {"pattern: the key 'Glob'"});
  expect_refused(pattern + "/Regex", std::string(1000, '(') + std::string(1000, ')'), {place, "does not compile"});
  expect_refused(pattern + "/Regex", std::string(100'000, 'a'), {"a pattern of 100000 bytes"});
}

}  // namespace
}  // namespace headroom
