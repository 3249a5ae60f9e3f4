// Each part of a tokenizer.json alone, in files of a few tokens: what it does, and what is refused by name.
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using nlohmann::json;
using test::expect_error;
using test::Scratch;
using Strings = std::vector<std::string>;

// Characters and two merges, cut at nothing.
json small() {
  json vocab;
  for (const char* token : {"<unk>", "a", "b", "c", "ab", "abc", "\u2581", "1", "2", ".", "\u00e9"}) {
    vocab[token] = vocab.size();
  }
  return {{"version", "1.0"},
          {"added_tokens", json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", nullptr},
          {"post_processor", nullptr},
          {"decoder", {{"type", "Fuse"}}},
          {"model", {{"type", "BPE"}, {"unk_token", "<unk>"}, {"vocab", vocab}, {"merges", {"a b", "ab c"}}}}};
}

Tokenizer load(const json& content) {
  const Scratch scratch;
  return Tokenizer::load(scratch.file("tokenizer.json", content.dump()));
}

Strings pieces(const Tokenizer& tokenizer, const std::string& text) {
  Strings out;
  for (const std::int32_t id : tokenizer.encode(text)) out.push_back(tokenizer.piece(id));
  return out;
}

Strings pieces_with(const char* part, const json& step, const std::string& text) {
  json content = small();
  content[part] = step;
  return pieces(load(content), text);
}

json added(std::int32_t id, const std::string& content, const json& flags = json::object()) {
  json token = {{"id", id}, {"content", content}};
  token.update(flags);
  return token;
}

// ---- the model

TEST(TokenizerJson, MergesByRankAndFromTheLeft) {
  const Tokenizer tokenizer = load(small());
  EXPECT_EQ(pieces(tokenizer, "abcab"), (Strings{"abc", "ab"}));
  EXPECT_EQ(pieces(tokenizer, "aab"), (Strings{"a", "ab"}));
  EXPECT_EQ(tokenizer.vocab_size(), 11);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("abcab")), "abcab");
  json overlapping = small();
  overlapping["model"]["vocab"]["bc"] = 11;
  overlapping["model"]["merges"] = {"b c", "a b"};
  EXPECT_EQ(pieces(load(overlapping), "abcab"), (Strings{"a", "bc", "ab"}));
}

TEST(TokenizerJson, MergesOfOnePairTwiceCountTheLater) {
  json content = small();
  content["model"]["vocab"]["bc"] = 11;
  content["model"]["merges"] = {"a b", "b c", "a b"};
  EXPECT_EQ(pieces(load(content), "abc"), (Strings{"a", "bc"}));
}

TEST(TokenizerJson, MergesMayBePairs) {
  json content = small();
  content["model"]["merges"] = json::array({json::array({"a", "b"}), json::array({"ab", "c"})});
  EXPECT_EQ(pieces(load(content), "abc"), Strings{"abc"});
}

TEST(TokenizerJson, LongPiecesAreMergedAsShortOnesAre) {
  const Tokenizer tokenizer = load(small());
  std::string text;
  Strings expected;
  for (int i = 0; i < 500; ++i) {
    text += i % 3 == 0 ? "abc" : i % 3 == 1 ? "ab" : "c.";
    for (const char* piece : i % 3 == 0 ? std::vector{"abc"} : i % 3 == 1 ? std::vector{"ab"} : std::vector{"c", "."}) {
      expected.emplace_back(piece);
    }
  }
  // "ab" and the "c" that follows it merge as well.
  Strings joined;
  for (const std::string& piece : expected) {
    if (piece == "c" && !joined.empty() && joined.back() == "ab") {
      joined.back() = "abc";
    } else {
      joined.push_back(piece);
    }
  }
  EXPECT_EQ(pieces(tokenizer, text), joined);
}

TEST(TokenizerJson, UnknownCharacters) {
  EXPECT_EQ(pieces(load(small()), "axyb"), (Strings{"a", "<unk>", "<unk>", "b"}));
  json content = small();
  content["model"]["fuse_unk"] = true;
  EXPECT_EQ(pieces(load(content), "axyb"), (Strings{"a", "<unk>", "b"}));
  content["model"]["unk_token"] = nullptr;
  EXPECT_EQ(pieces(load(content), "axyb"), Strings{"ab"});
  content["model"]["unk_token"] = "<none>";
  const Tokenizer without = load(content);
  EXPECT_EQ(pieces(without, "ab"), Strings{"ab"});
  expect_error([&] { without.encode("ax"); }, ExitCode::bad_data, {"tokenizer.json: model", "'x'", "'<none>'"});
}

TEST(TokenizerJson, BlanksAroundAMissingCharacterMerge) {
  json content = small();
  content["model"]["unk_token"] = nullptr;
  content["model"]["vocab"]["\u2581\u2581"] = 11;
  content["model"]["merges"] = {"\u2581 \u2581"};
  EXPECT_EQ(pieces(load(content), "\u2581x\u2581a\u2581\u2581"), (Strings{"\u2581\u2581", "a", "\u2581\u2581"}));
}

TEST(TokenizerJson, BytesInPlaceOfUnknownCharacters) {
  json content = small();
  content["model"]["byte_fallback"] = true;
  content["model"]["vocab"]["<0xC3>"] = 11;
  content["model"]["vocab"]["<0xA4>"] = 12;
  content["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  const Tokenizer tokenizer = load(content);
  EXPECT_EQ(pieces(tokenizer, "a\u00e4\u00f6"), (Strings{"a", "<0xC3>", "<0xA4>", "<unk>"}));
  EXPECT_EQ(tokenizer.decode({1, 11, 12, 1}), "a\u00e4a");
  EXPECT_EQ(tokenizer.decode({1, 11, 1, 12}), "a\uFFFDa\uFFFD");
}

TEST(TokenizerJson, WholeWordsBeforeMerges) {
  json content = small();
  content["model"]["vocab"]["cab"] = 11;
  EXPECT_EQ(pieces(load(content), "cab"), (Strings{"c", "ab"}));
  content["model"]["ignore_merges"] = true;
  EXPECT_EQ(pieces(load(content), "cab"), Strings{"cab"});
}

TEST(TokenizerJson, AVocabularyMayHaveHoles) {
  json content = small();
  content["model"]["vocab"]["z"] = 20;
  const Tokenizer tokenizer = load(content);
  EXPECT_EQ(tokenizer.vocab_size(), 21);
  EXPECT_EQ(tokenizer.piece(20), "z");
  expect_error([&] { tokenizer.piece(15); }, ExitCode::bad_data, {"token id 15", "none of"});
  expect_error([&] { tokenizer.decode({1, 15}); }, ExitCode::bad_data, {"token id 15"});
}

TEST(TokenizerJson, TextThatIsNoUtf8IsReadAsReplacementCharacters) {
  json content = small();
  content["model"]["vocab"]["\uFFFD"] = 11;
  const Tokenizer tokenizer = load(content);
  EXPECT_EQ(pieces(tokenizer,
                   "a\xFF\xC3"
                   "b\xE2\x82"),
            (Strings{"a", "\uFFFD", "\uFFFD", "b", "\uFFFD"}));
}

// ---- normalizers

TEST(TokenizerJson, Normalizers) {
  const auto normalized = [](const json& step, const std::string& text) {
    return pieces_with("normalizer", step, text);
  };
  EXPECT_EQ(normalized({{"type", "NFC"}}, "e\u0301"), Strings{"\u00e9"});
  EXPECT_EQ(normalized({{"type", "NFD"}}, "\u00e9"), (Strings{"<unk>", "<unk>"}));
  EXPECT_EQ(normalized({{"type", "NFKC"}}, "\u00b9\uff41"), (Strings{"1", "a"}));
  EXPECT_EQ(normalized({{"type", "Lowercase"}}, "ABC\u00c9"), (Strings{"abc", "\u00e9"}));
  EXPECT_EQ(normalized({{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}, "\u00a0 a "),
            (Strings{"a", "<unk>"}));
  EXPECT_EQ(normalized({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}, " \u3000 "), Strings{});
  EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "a"}}, "b"), Strings{"ab"});
  EXPECT_EQ(normalized({{"type", "Prepend"}, {"prepend", "a"}}, ""), Strings{});
  EXPECT_EQ(normalized({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}, "a b"),
            (Strings{"a", "\u2581", "b"}));
  EXPECT_EQ(normalized({{"type", "Replace"}, {"pattern", {{"Regex", "x+"}}}, {"content", "1"}}, "axxbx"),
            (Strings{"a", "1", "b", "1"}));
  EXPECT_EQ(
      normalized({{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}}, "E\u0301"),
      Strings{"\u00e9"});
}

// The library's normaliser knows Unicode 9: a mark that is younger keeps its place and what follows it apart.
TEST(TokenizerJson, MarksYoungerThanTheNormaliserAreStarters) {
  EXPECT_EQ(pieces_with("normalizer", {{"type", "NFC"}}, "e\u1DF6\u0301"), (Strings{"<unk>", "<unk>", "<unk>"}));
  EXPECT_EQ(pieces_with("normalizer", {{"type", "NFC"}}, "e\u0323\u0301").size(), 2u);
}

// ---- pre-tokenizers: merges do not cross a cut

TEST(TokenizerJson, SplitsAndTheirBehaviours) {
  const auto split = [](const char* behavior, bool invert, const std::string& text) {
    return pieces_with("pre_tokenizer",
                       {{"type", "Split"}, {"pattern", {{"Regex", "b+"}}}, {"behavior", behavior}, {"invert", invert}},
                       text);
  };
  EXPECT_EQ(split("Isolated", false, "abcab"), (Strings{"a", "b", "c", "a", "b"}));
  EXPECT_EQ(split("Removed", false, "abcab"), (Strings{"a", "c", "a"}));
  EXPECT_EQ(split("Removed", true, "abcabb"), (Strings{"b", "b", "b"}));
  EXPECT_EQ(split("MergedWithPrevious", false, "abcab"), (Strings{"ab", "c", "ab"}));
  EXPECT_EQ(split("MergedWithNext", false, "abcab"), (Strings{"a", "b", "c", "a", "b"}));
  EXPECT_EQ(split("Contiguous", false, "abcab"), (Strings{"a", "b", "c", "a", "b"}));
  EXPECT_EQ(pieces_with("pre_tokenizer",
                        {{"type", "Split"}, {"pattern", {{"String", "."}}}, {"behavior", "Removed"}, {"invert", false}},
                        "ab.c"),
            (Strings{"ab", "c"}));
}

TEST(TokenizerJson, DigitsAndPunctuationAndWhiteSpace) {
  json content = small();
  content["model"]["vocab"]["12"] = 11;
  content["model"]["vocab"]["a1"] = 12;
  content["model"]["merges"] = {"1 2", "a 1"};
  content["pre_tokenizer"] = {{"type", "Digits"}, {"individual_digits", false}};
  EXPECT_EQ(pieces(load(content), "a12"), (Strings{"a", "12"}));
  content["pre_tokenizer"]["individual_digits"] = true;
  EXPECT_EQ(pieces(load(content), "a12"), (Strings{"a", "1", "2"}));
  EXPECT_EQ(pieces_with("pre_tokenizer", {{"type", "Punctuation"}, {"behavior", "Removed"}}, "a.b$c\u3002ab"),
            (Strings{"a", "b", "c", "ab"}));
  EXPECT_EQ(pieces_with("pre_tokenizer", {{"type", "WhitespaceSplit"}}, " a\u00a0b\u2003ab\n"),
            (Strings{"a", "b", "ab"}));
  EXPECT_EQ(pieces_with("pre_tokenizer", {{"type", "Whitespace"}}, " ab .. c\u0301"),
            (Strings{"ab", ".", ".", "c", "<unk>"}));
}

TEST(TokenizerJson, Metaspace) {
  const auto cut = [](const json& settings, const std::string& text) {
    json step = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
    step.update(settings);
    return pieces_with("pre_tokenizer", step, text);
  };
  EXPECT_EQ(cut({{"prepend_scheme", "always"}}, "a b"), (Strings{"\u2581", "a", "\u2581", "b"}));
  EXPECT_EQ(cut({{"prepend_scheme", "never"}}, "a b"), (Strings{"a", "\u2581", "b"}));
  EXPECT_EQ(cut({{"add_prefix_space", false}}, "a"), Strings{"a"});
  EXPECT_EQ(cut({{"add_prefix_space", true}}, " a"), (Strings{"\u2581", "a"}));
  json content = small();
  content["added_tokens"] = {added(11, "<m>", {{"normalized", false}})};
  content["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}};
  EXPECT_EQ(pieces(load(content), "a<m>b"), (Strings{"\u2581", "a", "<m>", "b"}));
  EXPECT_EQ(pieces(load(content), "<m>b"), (Strings{"<m>", "b"}));
}

TEST(TokenizerJson, ContinuationsGetNoWordBoundary) {
  json content = small();
  const auto continued = [&](const std::string& text) {
    const Tokenizer tokenizer = load(content);
    Strings out;
    for (const std::int32_t id : tokenizer.encode_continuation(text)) out.push_back(tokenizer.piece(id));
    return out;
  };
  content["normalizer"] = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  EXPECT_EQ(continued("a"), Strings{"a"});
  content["normalizer"] = nullptr;
  for (const char* scheme : {"first", "always"}) {
    content["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}};
    EXPECT_EQ(continued("a b"), (Strings{"a", "\u2581", "b"}));
  }
}

// ---- added tokens

TEST(TokenizerJson, AddedTokens) {
  json content = small();
  content["added_tokens"] = {added(11, "<m>", {{"normalized", false}, {"lstrip", true}}),
                             added(12, "<m>x", {{"normalized", false}, {"rstrip", true}}),
                             added(13, "ba", {{"normalized", false}, {"single_word", true}})};
  const Tokenizer tokenizer = load(content);
  EXPECT_EQ(tokenizer.vocab_size(), 14);
  EXPECT_EQ(pieces(tokenizer, "a <m> b"), (Strings{"a", "<m>", "<unk>", "b"}));
  EXPECT_EQ(pieces(tokenizer, "a <m>x b"), (Strings{"a", "<unk>", "<m>x", "b"}));  // the longest
  EXPECT_EQ(pieces(tokenizer, "ba.ba"), (Strings{"ba", ".", "ba"}));
  EXPECT_EQ(pieces(tokenizer, "bab"), (Strings{"b", "ab"}));
  EXPECT_EQ(tokenizer.decode({12, 1}), "<m>xa");
}

// As the library (0.23.3) gives them: a blank that the token before took is none any more.
TEST(TokenizerJson, AddedTokensOfWhiteSpace) {
  const auto with = [](bool lstrip, bool rstrip, const std::string& text) {
    json content = small();
    content["added_tokens"] = {added(11, " ", {{"normalized", false}, {"lstrip", lstrip}, {"rstrip", rstrip}})};
    return pieces(load(content), text);
  };
  EXPECT_EQ(with(true, true, "a   b"), (Strings{"a", " ", "b"}));
  EXPECT_EQ(with(true, true, " \t b"), (Strings{" ", "b"}));
  EXPECT_EQ(with(true, true, " "), Strings{" "});
  EXPECT_EQ(with(false, true, "a  b"), (Strings{"a", " ", " ", "b"}));
  EXPECT_EQ(with(true, false, "a  b"), (Strings{"a", " ", " ", "b"}));
}

TEST(TokenizerJson, NormalizedAddedTokensAreFoundInNormalizedText) {
  json content = small();
  content["normalizer"] = {{"type", "Lowercase"}};
  content["added_tokens"] = {added(11, "Bac", {{"normalized", true}}), added(12, "CC", {{"normalized", false}})};
  EXPECT_EQ(pieces(load(content), "BACcc"), (Strings{"Bac", "c", "c"}));
  EXPECT_EQ(pieces(load(content), "bacCC"), (Strings{"Bac", "CC"}));
}

// ---- what goes around a text

json template_of(const json& single) {
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", json::array()},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {11}}, {"tokens", {"<s>"}}}}}}};
}
const json kText = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
const json kBegin = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};

TEST(TokenizerJson, PostProcessors) {
  json content = small();
  content["added_tokens"] = {added(11, "<s>"), added(12, "</s>")};
  const auto around = [&](const json& processor) {
    content["post_processor"] = processor;
    return load(content).encode_with_special("a");
  };
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(around(nullptr), Ids{1});
  EXPECT_EQ(around(template_of({kBegin, kText})), (Ids{11, 1}));
  EXPECT_EQ(load(content).bos(), 11);
  EXPECT_EQ(around(template_of({kText, kBegin, kBegin})), (Ids{1, 11, 11}));
  EXPECT_FALSE(load(content).has_bos());
  const json roberta = {{"type", "RobertaProcessing"},
                        {"sep", {"</s>", 12}},
                        {"cls", {"<s>", 11}},
                        {"trim_offsets", true},
                        {"add_prefix_space", false}};
  EXPECT_EQ(around(roberta), (Ids{11, 1, 12}));
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  EXPECT_EQ(around(bytes), Ids{1});
  EXPECT_EQ(around({{"type", "Sequence"}, {"processors", {bytes, roberta, template_of({kBegin, kText})}}}),
            (Ids{11, 11, 1, 12}));
}

// ---- decoders

TEST(TokenizerJson, Decoders) {
  const auto decoded = [](const json& decoder, const std::vector<std::int32_t>& ids) {
    json content = small();
    content["decoder"] = decoder;
    return load(content).decode(ids);
  };
  EXPECT_EQ(decoded(nullptr, {4, 3}), "ab c");
  EXPECT_EQ(decoded({{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}}, {6, 4, 6, 3}),
            "ab c");
  EXPECT_EQ(decoded({{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "never"}}, {6, 4}), " ab");
  EXPECT_EQ(decoded({{"type", "Strip"}, {"content", "a"}, {"start", 1}, {"stop", 0}}, {1, 4, 1}), "b");
  EXPECT_EQ(decoded({{"type", "Strip"}, {"content", "c"}, {"start", 9}, {"stop", 9}}, {3, 5}), "ab");
  EXPECT_EQ(decoded({{"type", "Replace"}, {"pattern", {{"String", "b"}}}, {"content", "-"}}, {4, 5}), "a-a-c");
  EXPECT_EQ(decoded({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}},
                    {1, 10, 6}),
            "a\uFFFD\u2581");  // the byte 0xE9, and a character that stands for no byte
}

}  // namespace
}  // namespace headroom
