// Token files of every form. The first byte says how the rest becomes files:
//   b  X.bin: llm.c, nanoGPT        t  X.tokens: Headroom
//   c  X.tokens whose header's checksum is put right, so that what lies behind it is reached
//   m  X.bin opened beside X.idx    i  the same, X.idx opened: Megatron-LM; a u16 tells the index' bytes
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "data/corpus.h"
#include "data/token_format.h"
#include "data/token_forms.h"
#include "tests/fuzz/target.h"
#include "tests/scratch.h"

namespace headroom::fuzz {
namespace {

std::string with_checksum(std::string_view bytes) {
  std::string file(bytes);
  if (file.size() < sizeof(TokenHeader)) return file;
  const std::uint64_t checksum = XXH64(file.data(), offsetof(TokenHeader, checksum), 0);
  std::memcpy(file.data() + offsetof(TokenHeader, checksum), &checksum, sizeof checksum);
  return file;
}

std::filesystem::path place(const test::Scratch& scratch, std::string_view bytes) {
  const char form = bytes.empty() ? 'b' : bytes.front();
  bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 1));
  switch (form) {
    case 't':
      return scratch.file("own.tokens", std::string(bytes));
    case 'c':
      return scratch.file("own.tokens", with_checksum(bytes));
    case 'm':
    case 'i': {
      std::uint16_t told = 0;
      std::memcpy(&told, bytes.data(), std::min(bytes.size(), sizeof told));
      bytes.remove_prefix(std::min(bytes.size(), sizeof told));
      const std::size_t index_bytes = std::min<std::size_t>(told, bytes.size());
      const auto index = scratch.file("pair.idx", std::string(bytes.substr(0, index_bytes)));
      const auto tokens = scratch.file("pair.bin", std::string(bytes.substr(index_bytes)));
      return form == 'm' ? tokens : index;
    }
    default:
      return scratch.file("alone.bin", std::string(bytes));
  }
}

// No read through a layout may leave the file; a document has a token.
void check_layout(const TokenLayout& layout) {
  HEADROOM_CHECK(layout.count > 0 && layout.offset <= layout.file.size() &&
                     layout.count <= (layout.file.size() - layout.offset) / size_of(layout.type),
                 "{} tokens from byte {} of {}", layout.count, layout.offset, layout.file.size());
  std::uint64_t end = layout.count;
  for (auto begin = layout.documents.rbegin(); begin != layout.documents.rend(); ++begin) {
    HEADROOM_CHECK(*begin < end, "a document's tokens are [{}, {})", *begin, end);
    end = *begin;
  }
}

void check_reads(const TokenFile& file) {
  std::vector<std::int32_t> all(file.size());
  file.read(0, all, 0);
  for (std::uint64_t begin = 0; begin < file.size();) {
    std::vector<std::int32_t> piece(std::min<std::uint64_t>(file.size() - begin, 1 + begin % 7));
    file.read(begin, piece, 0);
    HEADROOM_CHECK(std::equal(piece.begin(), piece.end(), all.begin() + static_cast<std::ptrdiff_t>(begin)),
                   "other tokens when {} are read from {}", piece.size(), begin);
    begin += piece.size();
  }
  const std::int32_t largest = *std::max_element(all.begin(), all.end());
  HEADROOM_CHECK(*std::min_element(all.begin(), all.end()) >= 0, "a negative id");
  file.read(0, all, std::int64_t{largest} + 1);
  file.read(0, all, file.vocab_size());
}

void drive(std::string_view bytes) {
  static const test::Scratch scratch;
  const std::filesystem::path path = place(scratch, bytes);
  check_layout(open_token_layout(path));
  const TokenFile file = TokenFile::open(path);
  HEADROOM_CHECK(file.fingerprint() == TokenFile::open(path).fingerprint(), "another fingerprint of the same file");
  check_reads(file);
}

const Registration kRegistered({"token_file", {ExitCode::bad_data}, drive});

}  // namespace
}  // namespace headroom::fuzz
