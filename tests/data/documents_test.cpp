// Documents come out of text files whole, whatever the size of the parts, and invalid bytes are found and mended.
#include "data/documents.h"

#include "data/utf8.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using test::expect_error;
using test::Scratch;

constexpr const char* kReplacement = "\xEF\xBF\xBD";

// The documents of `files`, put together from their parts.
std::vector<std::string> documents_of(const std::vector<std::filesystem::path>& files,
                                      const DocumentFormat& format = {}, std::vector<TextFile>* facts = nullptr) {
  DocumentReader reader(files, format);
  std::vector<std::string> documents;
  DocumentPart part;
  bool open = false;
  while (reader.next(part)) {
    EXPECT_EQ(part.first, !open);
    if (part.first) documents.emplace_back();
    EXPECT_EQ(part.document + 1, documents.size());
    documents.back() += part.text;
    open = !part.last;
  }
  EXPECT_FALSE(open);
  if (facts != nullptr) *facts = reader.files();
  return documents;
}

TEST(Documents, AreSeparatedByLinesThatHoldOnlyTheSeparator) {
  const Scratch scratch;
  const auto file =
      scratch.file("a.txt", "one\ntwo\n<|endoftext|>\n\n three <|endoftext|>\nfour\n\n<|endoftext|>\r\nfive");
  EXPECT_THAT(documents_of({file}), testing::ElementsAre("one\ntwo", " three <|endoftext|>\nfour", "five"));
}

TEST(Documents, OfNothingButWhiteSpaceAreLeftOut) {
  const Scratch scratch;
  const auto file = scratch.file("a.txt", "<|endoftext|>\n \n\t\n<|endoftext|>\nx\n<|endoftext|>\n\n");
  EXPECT_THAT(documents_of({file}), testing::ElementsAre("x"));
}

TEST(Documents, NeverSpanFilesAndKeepTheirOrder) {
  const Scratch scratch;
  const auto b = scratch.file("b.txt", "b1\n<|endoftext|>\nb2\n");
  const auto a = scratch.file("a.txt", "a1");
  EXPECT_THAT(documents_of({b, a}), testing::ElementsAre("b1", "b2", "a1"));
}

TEST(Documents, AreTheSameWhateverTheSizeOfTheParts) {
  const Scratch scratch;
  std::string text;
  for (int i = 0; i < 700; ++i) {
    text += test::prose(i % 7, static_cast<unsigned>(i)) + (i % 5 == 0 ? "\n \n" : "") +
            (i % 11 == 0 ? "<|endoftext|>\n" : "");
    if (i % 13 == 0) text += std::string(static_cast<std::size_t>(i), 'x') + "é日本" + std::string(97, 'y') + "\n";
  }
  const auto file = scratch.file("a.txt", text);
  const auto whole = documents_of({file}, {.part_bytes = text.size() + 1});
  ASSERT_GT(whole.size(), 30u);
  for (const std::size_t part_bytes : {1, 3, 17, 101, 4096}) {
    for (const std::size_t line_bytes : {8, 19, 101, 65536}) {
      EXPECT_TRUE(documents_of({file}, {.part_bytes = part_bytes, .line_bytes = line_bytes}) == whole)
          << "parts of " << part_bytes << ", lines of " << line_bytes;
    }
  }
}

TEST(Documents, ComeInPartsOfBoundedSizeCutBeforeLineBreaks) {
  const Scratch scratch;
  const auto file = scratch.file("a.txt", test::prose(5000));
  DocumentReader reader({file}, {.part_bytes = 1000});
  DocumentPart part;
  int parts = 0;
  while (reader.next(part)) {
    EXPECT_LE(part.text.size(), 1000u);
    EXPECT_EQ(part.first, parts == 0);
    if (!part.first) {
      EXPECT_EQ(part.text[0], '\n');
    }
    ++parts;
  }
  EXPECT_GT(parts, 100);
}

TEST(Documents, InvalidUtf8IsReplacedCountedAndLocated) {
  const Scratch scratch;
  std::string text = "fine\n";
  const std::size_t first = text.size() + 3;
  text += "caf\xE9 au lait\n\xC3\xA9 ok \xF0\x9F\x98 cut\n";
  const auto file = scratch.file("latin1.txt", text);
  for (const std::size_t part_bytes : {std::size_t{4}, std::size_t{65536}}) {
    std::vector<TextFile> facts;
    const auto documents = documents_of({file}, {.part_bytes = part_bytes, .line_bytes = 8}, &facts);
    EXPECT_THAT(documents, testing::ElementsAre("fine\ncaf" + std::string(kReplacement) + " au lait\n\xC3\xA9 ok " +
                                                kReplacement + " cut"));
    ASSERT_EQ(facts.size(), 1u);
    EXPECT_EQ(facts[0].invalid_utf8, 2u);
    EXPECT_EQ(facts[0].first_invalid_byte, first);
    EXPECT_EQ(facts[0].first_invalid_line, 2u);
    EXPECT_EQ(facts[0].bytes, text.size());
  }
}

TEST(Documents, AByteOrderMarkIsNoText) {
  const Scratch scratch;
  EXPECT_THAT(documents_of({scratch.file("a.txt", "\xEF\xBB\xBFhello")}), testing::ElementsAre("hello"));
}

TEST(Documents, FilesThatAreNoTextAreRefused) {
  const Scratch scratch;
  const auto binary = scratch.file("a.txt", std::string("ab\0cd", 5));
  expect_error([&] { documents_of({binary}); }, ExitCode::bad_data, {binary.string(), "zero bytes"});
  expect_error([&] { documents_of({scratch / "missing.txt"}); }, ExitCode::bad_data, {"missing.txt", "No such file"});
  expect_error([&] { documents_of({scratch.path()}); }, ExitCode::bad_data, {scratch.path().string()});
  expect_error([&] { documents_of({}); }, ExitCode::bad_data, {"no text files"});
}

TEST(TextFiles, OfADirectoryAreItsSortedTxtFiles) {
  const Scratch scratch;
  scratch.file("d/b.txt", "b");
  scratch.file("d/sub/a.txt", "a");
  scratch.file("d/readme.md", "no");
  const auto extra = scratch.file("extra", "named");
  EXPECT_THAT(text_files({extra, scratch / "d"}),
              testing::ElementsAre(extra, scratch / "d/b.txt", scratch / "d/sub/a.txt"));
}

TEST(TextFiles, MustExistBeFoundAndBeNamedOnce) {
  const Scratch scratch;
  const auto a = scratch.file("d/a.txt", "a");
  std::filesystem::create_directory(scratch / "empty");
  expect_error([&] { text_files({scratch / "nowhere"}); }, ExitCode::bad_data, {"nowhere"});
  expect_error([&] { text_files({scratch / "empty"}); }, ExitCode::bad_data, {"empty", "*.txt"});
  expect_error([&] { text_files({scratch / "d", a}); }, ExitCode::bad_data, {"a.txt", "twice"});
}

TEST(Utf8, TheStandardsExamplesOfInvalidForms) {
  // Unicode 15, table 3-8 and 3-11: each maximal subpart becomes one U+FFFD.
  const std::string r = kReplacement;
  const auto repaired = [](const std::string& text) {
    std::string out;
    append_valid_utf8(text, out);
    return out;
  };
  EXPECT_EQ(repaired("a\xF1\x80\x80\xE1\x80\xC2"
                     "b\x80"
                     "c\x80\xBF"
                     "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(repaired("\xC0\xAF"), r + r);          // overlong
  EXPECT_EQ(repaired("\xED\xA0\x80"), r + r + r);  // a surrogate
  EXPECT_EQ(repaired("\xF4\x91\x92\x93"
                     "A"),
            r + r + r + r + "A");  // beyond U+10FFFF
  EXPECT_EQ(repaired("ok \xF0\x9F\x98\x80 \xE2\x82\xAC"), "ok \xF0\x9F\x98\x80 \xE2\x82\xAC");
}

TEST(Utf8, CutsFallBetweenCharacters) {
  const std::string text =
      "a\xE2\x82\xAC"
      "b";
  EXPECT_EQ(utf8_boundary(text, 1), 1u);
  EXPECT_EQ(utf8_boundary(text, 2), 1u);
  EXPECT_EQ(utf8_boundary(text, 3), 1u);
  EXPECT_EQ(utf8_boundary(text, 4), 4u);
  EXPECT_EQ(utf8_boundary(text, 9), text.size());
}

}  // namespace
}  // namespace headroom
