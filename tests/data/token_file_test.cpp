// Headroom's own token file: what was written is what is read, and any damage is noticed.
#include <xxhash.h>

#include <array>
#include <numeric>

#include "data/corpus.h"
#include "data/token_format.h"
#include "data/token_writer.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using test::bytes_of;
using test::content_of;
using test::expect_error;
using test::Scratch;

const std::string kTokenizer = "0123456789abcdef";

// Three documents of 3, 1 and 7 tokens.
std::filesystem::path write_example(const Scratch& scratch, std::uint64_t vocab_size, std::vector<std::int32_t> ids) {
  const auto path = scratch / "example.tokens";
  TokenWriter writer(path, vocab_size, kTokenizer);
  const std::span<const std::int32_t> all = ids;
  writer.begin_document();
  writer.write(all.first(2));
  writer.write(all.subspan(2, 1));
  writer.begin_document();
  writer.write(all.subspan(3, 1));
  writer.begin_document();
  writer.write(all.subspan(4));
  writer.finish();
  return path;
}

std::vector<std::int32_t> eleven(std::int32_t largest) {
  return {1, 0, 7, 3, 9, 12, 2, largest, 5, 1, 4};
}

// The file with its header changed and the checksum made to match again: a header that lies.
std::string with_header(std::string content, const std::function<void(TokenHeader&)>& change) {
  TokenHeader header;
  std::memcpy(&header, content.data(), sizeof header);
  change(header);
  header.checksum = XXH64(&header, offsetof(TokenHeader, checksum), 0);
  std::memcpy(content.data(), &header, sizeof header);
  return content;
}

class TokenFileOfVocabulary : public testing::TestWithParam<std::int64_t> {};

TEST_P(TokenFileOfVocabulary, ReadsWhatWasWritten) {
  const Scratch scratch;
  const std::int64_t vocab_size = GetParam();
  const auto ids = eleven(static_cast<std::int32_t>(vocab_size - 1));
  const TokenFile file = TokenFile::open(write_example(scratch, static_cast<std::uint64_t>(vocab_size), ids));
  EXPECT_EQ(file.form(), "Headroom");
  EXPECT_EQ(file.size(), 11u);
  EXPECT_EQ(file.vocab_size(), vocab_size);
  EXPECT_EQ(file.tokenizer_fingerprint(), kTokenizer);
  EXPECT_THAT(file.documents(), testing::ElementsAre(0, 3, 4));
  for (std::size_t begin = 0; begin <= ids.size(); ++begin) {
    for (std::size_t count = 0; begin + count <= ids.size(); ++count) {
      std::vector<std::int32_t> read(count, -7);
      file.read(begin, read, vocab_size);
      EXPECT_EQ(read, std::vector<std::int32_t>(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                                ids.begin() + static_cast<std::ptrdiff_t>(begin + count)));
    }
  }
  EXPECT_FALSE(std::filesystem::exists(scratch / "example.tokens.offsets"));
}

// 65536 is the last vocabulary of 16-bit tokens.
INSTANTIATE_TEST_SUITE_P(Sizes, TokenFileOfVocabulary, testing::Values(13, 65536, 65537, 128256));

TEST(TokenFile, ReadingBeyondTheEndIsABug) {
  const Scratch scratch;
  const TokenFile file = TokenFile::open(write_example(scratch, 13, eleven(12)));
  std::vector<std::int32_t> out(2);
  expect_error([&] { file.read(10, out, 13); }, ExitCode::internal, {"of 11"});
  expect_error([&] { file.read(~std::uint64_t{0}, out, 13); }, ExitCode::internal, {"of 11"});
}

TEST(TokenFile, IdsBeyondTheVocabularyAreNamedWithTheirPosition) {
  const Scratch scratch;
  const auto path = write_example(scratch, 13, eleven(12));
  const TokenFile file = TokenFile::open(path);
  std::vector<std::int32_t> out(5);
  expect_error([&] { file.read(4, out, 12); }, ExitCode::bad_data,
               {path.string(), "token 5 has id 12", "vocabulary of 12"});
}

TEST(TokenFile, TheWriterRefusesIdsOutsideTheVocabulary) {
  const Scratch scratch;
  TokenWriter writer(scratch / "a.tokens", 10, kTokenizer);
  const std::array<std::int32_t, 2> large = {3, 10};
  const std::array<std::int32_t, 1> negative = {-1};
  expect_error([&] { writer.write(large); }, ExitCode::internal, {"token 10"});
  expect_error([&] { writer.write(negative); }, ExitCode::internal, {"token -1"});
}

TEST(TokenFile, EveryTruncationIsRefused) {
  const Scratch scratch;
  const auto path = write_example(scratch, 13, eleven(12));
  const std::string whole = content_of(path);
  ASSERT_EQ(whole.size(), 64 + 24 + 3 * 8u);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto cut = scratch.file("cut.tokens", whole.substr(0, size));
    expect_error([&] { TokenFile::open(cut); }, ExitCode::bad_data, {"cut.tokens"});
  }
  const auto longer = scratch.file("longer.tokens", whole + "x");
  expect_error([&] { TokenFile::open(longer); }, ExitCode::bad_data, {"do not hold exactly"});
}

TEST(TokenFile, EveryFlippedHeaderByteIsRefused) {
  const Scratch scratch;
  const std::string whole = content_of(write_example(scratch, 13, eleven(12)));
  for (std::size_t at = 0; at < 64; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
    const auto file = scratch.file("damaged.tokens", damaged);
    expect_error([&] { TokenFile::open(file); }, ExitCode::bad_data, {"damaged.tokens"});
  }
}

TEST(TokenFile, HeadersThatLieAreRefused) {
  const Scratch scratch;
  const std::string whole = content_of(write_example(scratch, 13, eleven(12)));
  const auto expect_refused = [&](const std::function<void(TokenHeader&)>& change, const std::string& why) {
    const auto file = scratch.file("lying.tokens", with_header(whole, change));
    expect_error([&] { TokenFile::open(file); }, ExitCode::bad_data, {"lying.tokens", why});
  };
  expect_refused([](TokenHeader& h) { h.version = 2; }, "version 2");
  expect_refused([](TokenHeader& h) { h.token_bytes = 4; }, "4 bytes a token");
  expect_refused([](TokenHeader& h) { h.token_bytes = 0; }, "0 bytes a token");
  expect_refused([](TokenHeader& h) { h.vocab_size = 0; }, "vocabulary of 0");
  expect_refused([](TokenHeader& h) { h.vocab_size = 70000; }, "vocabulary of 70000");
  expect_refused([](TokenHeader& h) { h.token_count = 0; }, "no tokens");
  expect_refused([](TokenHeader& h) { h.token_count = 13; }, "do not hold exactly");
  expect_refused([](TokenHeader& h) { h.document_count = 4; }, "do not hold exactly");
  // Counts whose products wrap round to the true size.
  expect_refused([](TokenHeader& h) { h.token_count += std::uint64_t{1} << 63; }, "do not hold exactly");
  expect_refused([](TokenHeader& h) { h.document_count += std::uint64_t{1} << 61; }, "do not hold exactly");
  expect_refused([](TokenHeader& h) { h.tokenizer_fingerprint[3] = '-'; }, "fingerprint");
}

TEST(TokenFile, DocumentOffsetsMustIncreaseFromZeroInsideTheFile) {
  const Scratch scratch;
  const std::string whole = content_of(write_example(scratch, 13, eleven(12)));
  const auto expect_refused = [&](const std::vector<std::uint64_t>& offsets, const std::string& why) {
    const auto file = scratch.file("offsets.tokens", whole.substr(0, 64 + 24) + bytes_of(offsets));
    expect_error([&] { TokenFile::open(file); }, ExitCode::bad_data, {"offsets.tokens", why});
  };
  expect_refused({1, 3, 4}, "document 0");
  expect_refused({0, 4, 3}, "document 2");
  expect_refused({0, 3, 3}, "document 2");
  expect_refused({0, 3, 11}, "token 11 of 11");
  expect_refused({0, 3, ~std::uint64_t{0}}, "document 2");
}

TEST(TokenFile, MissingEmptyAndUnreadableThingsAreNamed) {
  const Scratch scratch;
  expect_error([&] { TokenFile::open(scratch / "none.tokens"); }, ExitCode::bad_data, {"none.tokens", "No such file"});
  const auto empty = scratch.file("empty.tokens", "");
  expect_error([&] { TokenFile::open(empty); }, ExitCode::bad_data, {"empty.tokens", "empty"});
  expect_error([&] { TokenFile::open(scratch.path()); }, ExitCode::bad_data, {"not a regular file"});
}

TEST(TokenFile, TheFingerprintFollowsTheTokens) {
  const Scratch scratch;
  std::vector<std::int32_t> ids(300'000);
  std::iota(ids.begin(), ids.end(), 0);
  for (auto& id : ids) id %= 60'000;
  const auto fingerprint = [&](const std::vector<std::int32_t>& tokens) {
    return TokenFile::open(write_example(scratch, 60'000, tokens)).fingerprint();
  };
  const std::uint64_t original = fingerprint(ids);
  EXPECT_EQ(original, fingerprint(ids));
  for (const std::size_t at : {std::size_t{0}, ids.size() - 1}) {
    auto changed = ids;
    changed[at] ^= 1;
    EXPECT_NE(original, fingerprint(changed)) << "token " << at;
  }
  ids.pop_back();
  EXPECT_NE(original, fingerprint(ids));
}

}  // namespace
}  // namespace headroom
