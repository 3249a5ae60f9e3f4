// TokenFile: one split's tokens, whatever form they are stored in.
#include <xxhash.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "data/corpus.h"
#include "data/token_forms.h"

namespace headroom {
namespace {

constexpr std::uint64_t kSampleBlocks = 64;
constexpr std::uint64_t kSampleBytes = 4096;

// Widens tokens to int32, checking each against `limit`. `T` is the type in the file.
template <typename T>
void widen(const MappedFile& file, std::size_t offset, std::span<std::int32_t> out, std::uint64_t limit,
           std::uint64_t begin, const std::filesystem::path& path) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const T value = file.load<T>(offset + i * sizeof(T));
    // A negative id becomes a huge one here.
    if (static_cast<std::uint64_t>(static_cast<std::int64_t>(value)) >= limit) [[unlikely]] {
      fail_token_file(path,
                      fmt::format("token {} has id {}, outside the vocabulary of {}", begin + i,
                                  static_cast<std::int64_t>(value), limit),
                      "The corpus was made with another tokenizer, or the file is damaged: check model.vocab_size "
                      "and the corpus.");
    }
    out[i] = static_cast<std::int32_t>(value);
  }
}

}  // namespace

struct TokenFile::Implementation {
  std::filesystem::path path;
  TokenLayout layout;
};

TokenFile::TokenFile() : implementation_(std::make_unique<Implementation>()) {}
TokenFile::~TokenFile() = default;
TokenFile::TokenFile(TokenFile&&) noexcept = default;
TokenFile& TokenFile::operator=(TokenFile&&) noexcept = default;

TokenFile TokenFile::open(const std::filesystem::path& path) {
  TokenFile file;
  file.implementation_->path = path;
  file.implementation_->layout = open_token_layout(path);
  return file;
}

std::uint64_t TokenFile::size() const {
  return implementation_->layout.count;
}
std::span<const std::uint64_t> TokenFile::documents() const {
  return implementation_->layout.documents;
}
std::int64_t TokenFile::vocab_size() const {
  return implementation_->layout.vocab_size;
}
const std::string& TokenFile::tokenizer_fingerprint() const {
  return implementation_->layout.tokenizer_fingerprint;
}
const std::string& TokenFile::form() const {
  return implementation_->layout.form;
}
const std::filesystem::path& TokenFile::path() const {
  return implementation_->path;
}

void TokenFile::read(std::uint64_t begin, std::span<std::int32_t> out, std::int64_t vocab_limit) const {
  const TokenLayout& layout = implementation_->layout;
  HEADROOM_CHECK(begin <= layout.count && out.size() <= layout.count - begin, "tokens [{}, {} + {}) of {} in {}", begin,
                 begin, out.size(), layout.count, path().string());
  const std::size_t offset = layout.offset + begin * size_of(layout.type);
  // Ids are int32 everywhere: without a limit, those that fit.
  const auto limit = vocab_limit > 0 ? static_cast<std::uint64_t>(vocab_limit)
                                     : std::uint64_t{std::numeric_limits<std::int32_t>::max()} + 1;
  switch (layout.type) {
    case TokenType::u8:
      return widen<std::uint8_t>(layout.file, offset, out, limit, begin, path());
    case TokenType::i8:
      return widen<std::int8_t>(layout.file, offset, out, limit, begin, path());
    case TokenType::u16:
      return widen<std::uint16_t>(layout.file, offset, out, limit, begin, path());
    case TokenType::i16:
      return widen<std::int16_t>(layout.file, offset, out, limit, begin, path());
    case TokenType::u32:
      return widen<std::uint32_t>(layout.file, offset, out, limit, begin, path());
    case TokenType::i32:
      return widen<std::int32_t>(layout.file, offset, out, limit, begin, path());
    case TokenType::i64:
      return widen<std::int64_t>(layout.file, offset, out, limit, begin, path());
  }
}

std::uint64_t TokenFile::fingerprint() const {
  const TokenLayout& layout = implementation_->layout;
  const std::uint64_t width = size_of(layout.type);
  const std::uint64_t bytes = layout.count * width;
  const std::byte* tokens = layout.file.bytes().data() + layout.offset;
  const std::uint64_t sizes[] = {layout.count, width, layout.documents.size()};
  std::uint64_t hash = XXH3_64bits(sizes, sizeof sizes);
  // Blocks spread evenly, the first and the last among them; all of a small file.
  if (bytes <= kSampleBlocks * kSampleBytes) return XXH3_64bits_withSeed(tokens, bytes, hash);
  for (std::uint64_t block = 0; block < kSampleBlocks; ++block) {
    const std::uint64_t at = (bytes - kSampleBytes) / (kSampleBlocks - 1) * block;
    hash = XXH3_64bits_withSeed(tokens + at, kSampleBytes, hash);
  }
  return XXH3_64bits_withSeed(tokens + bytes - kSampleBytes, kSampleBytes, hash);
}

}  // namespace headroom
