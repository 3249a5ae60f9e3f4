// Text files. Three bytes choose the format (small parts and lines make small inputs reach every cut); two texts
// follow, parted as text_parts parts them.
#include <xxhash.h>

#include <algorithm>
#include <array>

#include "base/hash.h"
#include "data/documents.h"
#include "data/utf8.h"
#include "tests/fuzz/target.h"
#include "tests/scratch.h"

namespace headroom::fuzz {
namespace {

constexpr std::array<std::size_t, 4> kPartBytes{65536, 1, 7, 64};
constexpr std::array<std::size_t, 4> kLineBytes{65536, 8, 13, 100};
constexpr std::array<const char*, 4> kSeparators{"<|endoftext|>", "", "--", "a long separator, longer than most lines"};

DocumentFormat format_of(std::string_view choices) {
  const auto choice = [&](std::size_t i) {
    return i < choices.size() ? static_cast<unsigned char>(choices[i]) % 4u : 0u;
  };
  return {
      .separator = kSeparators[choice(2)], .part_bytes = kPartBytes[choice(0)], .line_bytes = kLineBytes[choice(1)]};
}

struct Read {
  std::vector<std::string> documents;
  std::vector<TextFile> files;
};

Read read_all(const std::vector<std::filesystem::path>& paths, const DocumentFormat& format) {
  DocumentReader reader(paths, format);
  Read read;
  bool open = false;
  for (DocumentPart part; reader.next(part);) {
    HEADROOM_CHECK(part.first != open && part.document + (part.first ? 0 : 1) == read.documents.size(),
                   "a part of document {} after {} documents", part.document, read.documents.size());
    if (part.first) read.documents.emplace_back();
    read.documents.back() += part.text;
    open = !part.last;
  }
  HEADROOM_CHECK(!open, "the last document has no last part");
  read.files = reader.files();
  return read;
}

void check_documents(const Read& read) {
  for (const std::string& text : read.documents) {
    HEADROOM_CHECK(valid_utf8_prefix(text) == text.size(), "a document is no UTF-8 at byte {}",
                   valid_utf8_prefix(text));
    HEADROOM_CHECK(text.find_first_not_of(" \t\r\f\v\n") != std::string::npos, "a document of nothing");
  }
}

void check_file(const TextFile& file, const std::string& content) {
  HEADROOM_CHECK(file.bytes == content.size() && file.hash == hex_digits(XXH64(content.data(), content.size(), 0)),
                 "{} bytes with hash {} were read of {}", file.bytes, file.hash, content.size());
  const std::size_t valid = valid_utf8_prefix(content);
  HEADROOM_CHECK((file.invalid_utf8 == 0) == (valid == content.size()), "{} replacements, but byte {} of {} is invalid",
                 file.invalid_utf8, valid, content.size());
  if (file.invalid_utf8 == 0) return;
  const auto line = 1 + std::count(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(valid), '\n');
  HEADROOM_CHECK(file.first_invalid_byte == valid && file.first_invalid_line == static_cast<std::uint64_t>(line),
                 "byte {} of line {} was told to be invalid, but it is byte {} of line {}", file.first_invalid_byte,
                 file.first_invalid_line, valid, line);
}

void drive(std::string_view bytes) {
  static const test::Scratch scratch;
  const std::size_t header = std::min<std::size_t>(bytes.size(), 3);
  DocumentFormat format = format_of(bytes.substr(0, header));
  const std::vector<std::string> texts = text_parts(bytes.substr(header), 2);
  const Read read = read_all({scratch.file("first", texts[0]), scratch.file("second", texts[1])}, format);
  check_documents(read);
  std::uint64_t documents = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    check_file(read.files.at(i), texts[i]);
    documents += read.files[i].documents;
  }
  HEADROOM_CHECK(documents == read.documents.size(), "{} documents in the files, {} read", documents,
                 read.documents.size());
  format.part_bytes = 3;
  HEADROOM_CHECK(read_all({scratch / "first", scratch / "second"}, format).documents == read.documents,
                 "smaller parts make another text");
}

const Registration kRegistered({"documents", {ExitCode::bad_data}, drive});

}  // namespace
}  // namespace headroom::fuzz
