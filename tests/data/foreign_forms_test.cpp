// Token files of other programs, written here byte by byte as they write them, and every way they can be broken.
#include <numeric>

#include "data/corpus.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using test::bytes_of;
using test::expect_error;
using test::Scratch;

std::vector<std::int32_t> all_of(const TokenFile& file) {
  std::vector<std::int32_t> ids(file.size());
  file.read(0, ids, 0);
  return ids;
}

// --- llm.c

std::string llmc(std::int32_t magic, std::int32_t version, std::int32_t count, const std::string& tokens) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return bytes_of(header) + tokens;
}

const std::string kShort = bytes_of<std::uint16_t>({50256, 3, 1, 4, 15});
const std::string kLong = bytes_of<std::uint32_t>({128000, 3, 1});

TEST(LlmC, Gpt2FilesAreReadAs16BitTokens) {
  const Scratch scratch;
  const TokenFile file = TokenFile::open(scratch.file("train.bin", llmc(20240520, 1, 5, kShort)));
  EXPECT_EQ(file.form(), "llm.c");
  EXPECT_THAT(all_of(file), testing::ElementsAre(50256, 3, 1, 4, 15));
  EXPECT_EQ(file.vocab_size(), 0);
  EXPECT_TRUE(file.documents().empty());
  EXPECT_EQ(file.tokenizer_fingerprint(), "");
}

TEST(LlmC, Llama3FilesAreReadAs32BitTokens) {
  const Scratch scratch;
  const TokenFile file = TokenFile::open(scratch.file("train.bin", llmc(20240801, 7, 3, kLong)));
  EXPECT_THAT(all_of(file), testing::ElementsAre(128000, 3, 1));
}

TEST(LlmC, BrokenFilesAreRefused) {
  const Scratch scratch;
  const auto expect_refused = [&](const std::string& content, const std::string& why) {
    const auto file = scratch.file("broken.bin", content);
    expect_error([&] { TokenFile::open(file); }, ExitCode::bad_data, {"broken.bin", why});
  };
  const std::string whole = llmc(20240520, 1, 5, kShort);
  for (std::size_t size = 4; size < whole.size(); ++size) expect_refused(whole.substr(0, size), "");
  expect_refused(whole + "xx", "take 1034 bytes, but the file has 1036");
  expect_refused(llmc(20240520, 2, 5, kShort), "version 1, not 2");
  expect_refused(llmc(20240801, 1, 3, kLong), "version 7, not 1");
  expect_refused(llmc(20240520, 1, 0, ""), "0 tokens");
  expect_refused(llmc(20240520, 1, -5, kShort), "-5 tokens");
  expect_refused(llmc(20240520, 1, 2147483647, kShort), "2147483647 tokens");
  expect_refused(llmc(20240522, 1, 5, kShort), "evaluation");
  expect_refused(llmc(20240519, 1, 5, kShort + "x"), "");
  expect_refused(llmc(20240519, 1, 5, kShort), "unknown magic");
}

// --- nanoGPT

TEST(NanoGpt, RawFilesAreReadAs16BitTokens) {
  const Scratch scratch;
  const TokenFile file = TokenFile::open(scratch.file("train.bin", kShort));
  EXPECT_EQ(file.form(), "nanoGPT");
  EXPECT_THAT(all_of(file), testing::ElementsAre(50256, 3, 1, 4, 15));
  std::vector<std::int32_t> out(3);
  expect_error([&] { file.read(0, out, 50000); }, ExitCode::bad_data, {"token 0 has id 50256"});
}

TEST(NanoGpt, WhatCannotBeTokensIsRefused) {
  const Scratch scratch;
  const auto odd = scratch.file("odd.bin", kShort + "x");
  expect_error([&] { TokenFile::open(odd); }, ExitCode::bad_data, {"odd.bin", "11 bytes"});
  const auto text = scratch.file("input.txt", "First Citizen:\nBefore we proceed any further, hear me speak.\n\n");
  expect_error([&] { TokenFile::open(text); }, ExitCode::bad_data, {"input.txt", "text"});
  const auto empty = scratch.file("empty.bin", "");
  expect_error([&] { TokenFile::open(empty); }, ExitCode::bad_data, {"empty.bin", "empty"});
}

// --- Megatron-LM

struct Megatron {
  std::string magic{"MMIDIDX\0\0", 9};
  std::uint64_t version = 1;
  std::uint8_t code = 8;
  std::uint64_t sequence_count = 3;
  std::uint64_t document_count = 3;  // entries of the document index: one more than documents
  std::vector<std::int32_t> lengths = {3, 2, 4};
  std::vector<std::int64_t> pointers = {0, 6, 10};
  std::vector<std::int64_t> documents = {0, 2, 3};
  std::string tokens = bytes_of<std::uint16_t>({10, 11, 12, 20, 21, 30, 31, 32, 33});
  std::string trailer;

  std::string index() const {
    return magic + bytes_of<std::uint64_t>({version}) + static_cast<char>(code) +
           bytes_of<std::uint64_t>({sequence_count, document_count}) + bytes_of(lengths) + bytes_of(pointers) +
           bytes_of(documents) + trailer;
  }
  std::filesystem::path write(const Scratch& scratch) const {
    scratch.file("set.idx", index());
    return scratch.file("set.bin", tokens);
  }
};

TEST(Megatron, PairsAreReadByEitherName) {
  const Scratch scratch;
  const auto path = Megatron{}.write(scratch);
  for (const auto& name : {path, scratch / "set.idx"}) {
    const TokenFile file = TokenFile::open(name);
    EXPECT_EQ(file.form(), "Megatron-LM");
    EXPECT_THAT(all_of(file), testing::ElementsAre(10, 11, 12, 20, 21, 30, 31, 32, 33));
    EXPECT_THAT(file.documents(), testing::ElementsAre(0, 5));
  }
}

// Writes the example with tokens of type T, whose code is `code`.
template <typename T>
void expect_read_as(std::uint8_t code) {
  const Scratch scratch;
  Megatron pair;
  pair.code = code;
  pair.pointers = {0, 3 * sizeof(T), 5 * sizeof(T)};
  pair.tokens = bytes_of<T>({10, 11, 12, 20, 21, 30, 31, 32, 33});
  EXPECT_THAT(all_of(TokenFile::open(pair.write(scratch))), testing::ElementsAre(10, 11, 12, 20, 21, 30, 31, 32, 33))
      << "type code " << int{code};
}

TEST(Megatron, EveryIntegerTypeIsRead) {
  expect_read_as<std::uint8_t>(1);
  expect_read_as<std::int8_t>(2);
  expect_read_as<std::int16_t>(3);
  expect_read_as<std::int32_t>(4);
  expect_read_as<std::int64_t>(5);
  expect_read_as<std::uint16_t>(8);
}

TEST(Megatron, NegativeAndHugeIdsAreNamed) {
  const Scratch scratch;
  Megatron pair;
  pair.code = 5;
  pair.pointers = {0, 24, 40};
  pair.tokens = bytes_of<std::int64_t>({1, 2, -3, 4, std::int64_t{1} << 40, 6, 7, 8, 9});
  const TokenFile file = TokenFile::open(pair.write(scratch));
  std::vector<std::int32_t> out(2);
  expect_error([&] { file.read(1, out, 0); }, ExitCode::bad_data, {"token 2 has id -3"});
  expect_error([&] { file.read(3, out, 0); }, ExitCode::bad_data, {"token 4 has id 1099511627776"});
}

TEST(Megatron, EmptyDocumentsAndSequencesAreNoDocuments) {
  const Scratch scratch;
  Megatron pair;
  pair.sequence_count = 4;
  pair.lengths = {3, 0, 6, 0};
  pair.pointers = {0, 6, 6, 18};
  pair.documents = {0, 1, 2, 2, 3, 4};
  pair.document_count = 6;
  EXPECT_THAT(TokenFile::open(pair.write(scratch)).documents(), testing::ElementsAre(0, 3));
}

TEST(Megatron, EveryTruncationOfTheIndexIsRefused) {
  const Scratch scratch;
  const auto path = Megatron{}.write(scratch);
  const std::string whole = Megatron{}.index();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    scratch.file("set.idx", whole.substr(0, size));
    expect_error([&] { TokenFile::open(path); }, ExitCode::bad_data, {"set.idx"});
  }
}

TEST(Megatron, EveryTruncationOfTheTokensIsRefused) {
  const Scratch scratch;
  const auto path = Megatron{}.write(scratch);
  const std::string whole = Megatron{}.tokens;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    scratch.file("set.bin", whole.substr(0, size));
    expect_error([&] { TokenFile::open(path); }, ExitCode::bad_data, {"set.bin"});
  }
}

TEST(Megatron, IndexesThatLieAreRefused) {
  const Scratch scratch;
  const auto expect_refused = [&](const std::function<void(Megatron&)>& change, const std::string& why) {
    Megatron pair;
    change(pair);
    const auto path = pair.write(scratch);
    expect_error([&] { TokenFile::open(path); }, ExitCode::bad_data, {"set.", why});
  };
  expect_refused([](Megatron& m) { m.magic[2] = 'X'; }, "MMIDIDX");
  expect_refused([](Megatron& m) { m.version = 2; }, "version 2");
  expect_refused([](Megatron& m) { m.code = 7; }, "type code 7");
  expect_refused([](Megatron& m) { m.code = 0; }, "type code 0");
  expect_refused([](Megatron& m) { m.code = 4; }, "begins at byte 6");
  expect_refused([](Megatron& m) { m.sequence_count = 4; }, "do not hold exactly");
  expect_refused([](Megatron& m) { m.sequence_count = (std::uint64_t{1} << 62) + 3; }, "do not hold exactly");
  expect_refused([](Megatron& m) { m.document_count = (std::uint64_t{1} << 61) + 3; }, "do not hold exactly");
  expect_refused(
      [](Megatron& m) {
        m.trailer = "\0\0\0";
        m.trailer.resize(3);
      },
      "multimodal");
  expect_refused([](Megatron& m) { m.lengths[1] = -2; }, "length of -2");
  expect_refused([](Megatron& m) { m.lengths[2] = 2147483647; }, "end before sequence 2");
  expect_refused([](Megatron& m) { m.lengths[2] = 3; }, "take 16");
  expect_refused([](Megatron& m) { m.pointers[1] = 8; }, "begins at byte 8");
  expect_refused([](Megatron& m) { m.pointers[2] = -2; }, "begins at byte -2");
  expect_refused([](Megatron& m) { m.documents = {0, 4, 3}; }, "out of order or beyond");
  expect_refused([](Megatron& m) { m.documents = {0, 2, 1}; }, "out of order or beyond");
  expect_refused([](Megatron& m) { m.documents = {-1, 2, 3}; }, "out of order or beyond");
  expect_refused(
      [](Megatron& m) {
        m.sequence_count = m.document_count = 0;
        m.lengths.clear(), m.pointers.clear(), m.documents.clear();
      },
      "no sequences");
}

TEST(Megatron, AnIndexWithoutItsTokensIsRefused) {
  const Scratch scratch;
  scratch.file("set.idx", Megatron{}.index());
  expect_error([&] { TokenFile::open(scratch / "set.idx"); }, ExitCode::bad_data, {"set.bin", "No such file"});
}

}  // namespace
}  // namespace headroom
