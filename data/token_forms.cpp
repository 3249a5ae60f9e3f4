#include "data/token_forms.h"

#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/error.h"
#include "data/token_format.h"

namespace headroom {
namespace {

constexpr const char* kDamagedHint = "The file is damaged or was not written to its end: make it again.";

// llm.c's data files (its dev/data/data_common.py): 256 int32, of which magic, version and token count are used.
constexpr std::size_t kLlmcHeaderBytes = 1024;
constexpr std::int32_t kLlmcGpt2 = 20240520;
constexpr std::int32_t kLlmcEvaluation = 20240522;
constexpr std::int32_t kLlmcLlama3 = 20240801;

bool starts_with(const MappedFile& file, std::string_view magic) {
  return file.size() >= magic.size() && std::memcmp(file.bytes().data(), magic.data(), magic.size()) == 0;
}

// The documents' first tokens: the first 0, increasing, inside the file.
void check_documents(const std::filesystem::path& path, std::span<const std::uint64_t> documents, std::uint64_t count) {
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const bool in_order = i == 0 ? documents[0] == 0 : documents[i] > documents[i - 1];
    if (!in_order) {
      fail_token_file(path,
                      fmt::format("document {} begins at token {}, after one that begins at {}: offsets must increase "
                                  "from 0",
                                  i, documents[i], i == 0 ? 0 : documents[i - 1]),
                      kDamagedHint);
    }
    if (documents[i] >= count) {
      fail_token_file(path, fmt::format("document {} begins at token {} of {}", i, documents[i], count), kDamagedHint);
    }
  }
}

TokenLayout open_headroom(const std::filesystem::path& path, MappedFile file) {
  if (file.size() < sizeof(TokenHeader)) {
    fail_token_file(path, fmt::format("{} bytes are less than the header of {}", file.size(), sizeof(TokenHeader)),
                    kDamagedHint);
  }
  const auto header = file.load<TokenHeader>(0);
  if (header.version != kTokenVersion) {
    fail_token_file(path, fmt::format("version {} is unknown (this Headroom reads {})", header.version, kTokenVersion),
                    "Make the corpus again with this Headroom's `headroom tokenize`.");
  }
  if (header.checksum != XXH64(&header, offsetof(TokenHeader, checksum), 0)) {
    fail_token_file(path, "the header's checksum does not match", kDamagedHint);
  }
  if (header.token_bytes != token_bytes_for(header.vocab_size) || header.vocab_size == 0 ||
      header.vocab_size > 0x7FFFFFFF) {
    fail_token_file(
        path, fmt::format("{} bytes a token do not go with a vocabulary of {}", header.token_bytes, header.vocab_size));
  }
  if (header.token_count == 0) fail_token_file(path, "it holds no tokens");
  const std::uint64_t body = file.size() - sizeof(TokenHeader);
  // First without multiplying, so that no count can overflow.
  const bool plausible = header.token_count <= body / header.token_bytes && header.document_count <= body / 8;
  const std::uint64_t tokens_end = plausible ? (header.token_count * header.token_bytes + 7) / 8 * 8 : 0;
  if (!plausible || tokens_end + header.document_count * 8 != body) {
    fail_token_file(path,
                    fmt::format("the header tells of {} tokens and {} documents, which {} bytes do not hold exactly",
                                header.token_count, header.document_count, file.size()),
                    kDamagedHint);
  }
  for (const char digit : header.tokenizer_fingerprint) {
    if (!std::isxdigit(static_cast<unsigned char>(digit))) {
      fail_token_file(path, "the tokenizer's fingerprint is not 16 hex digits");
    }
  }
  TokenLayout layout;
  layout.form = "Headroom";
  layout.offset = sizeof(TokenHeader);
  layout.type = header.token_bytes == 2 ? TokenType::u16 : TokenType::u32;
  layout.count = header.token_count;
  layout.vocab_size = static_cast<std::int64_t>(header.vocab_size);
  layout.tokenizer_fingerprint.assign(header.tokenizer_fingerprint.begin(), header.tokenizer_fingerprint.end());
  const std::byte* offsets = file.bytes().data() + sizeof(TokenHeader) + tokens_end;  // 8-byte aligned, as is the map
  layout.documents = {reinterpret_cast<const std::uint64_t*>(offsets), header.document_count};
  check_documents(path, layout.documents, layout.count);
  layout.file = std::move(file);
  return layout;
}

TokenLayout open_llmc(const std::filesystem::path& path, MappedFile file, std::int32_t magic) {
  if (file.size() < kLlmcHeaderBytes) {
    fail_token_file(path, fmt::format("{} bytes are less than llm.c's header of {}", file.size(), kLlmcHeaderBytes),
                    kDamagedHint);
  }
  const auto version = file.load<std::int32_t>(4);
  const auto count = file.load<std::int32_t>(8);
  const std::int32_t expected_version = magic == kLlmcGpt2 ? 1 : 7;
  if (version != expected_version) {
    fail_token_file(path,
                    fmt::format("llm.c's magic {} goes with version {}, not {}", magic, expected_version, version));
  }
  if (count <= 0) fail_token_file(path, fmt::format("llm.c's header tells of {} tokens", count), kDamagedHint);
  TokenLayout layout;
  layout.form = "llm.c";
  layout.offset = kLlmcHeaderBytes;
  layout.type = magic == kLlmcGpt2 ? TokenType::u16 : TokenType::u32;
  layout.count = static_cast<std::uint64_t>(count);
  const std::uint64_t expected = kLlmcHeaderBytes + layout.count * size_of(layout.type);
  if (expected != file.size()) {
    fail_token_file(path,
                    fmt::format("llm.c's header tells of {} tokens, which take {} bytes, but the file has {}", count,
                                expected, file.size()),
                    kDamagedHint);
  }
  layout.file = std::move(file);
  return layout;
}

// nanoGPT's files have no header, so all that can be done is to turn away what is surely something else.
TokenLayout open_raw(const std::filesystem::path& path, MappedFile file) {
  if (file.size() % 2 != 0) {
    fail_token_file(
        path, fmt::format("{} bytes are no whole number of 16-bit tokens, and no known header opens it", file.size()));
  }
  const auto bytes = file.bytes();
  const auto head = bytes.first(std::min<std::size_t>(bytes.size(), 4096));
  const bool text = std::all_of(head.begin(), head.end(), [](std::byte b) {
    const auto c = static_cast<unsigned char>(b);
    return (c >= 32 && c < 127) || c == '\n' || c == '\t' || c == '\r';
  });
  if (text) {
    fail_token_file(path, "this is text, not tokens", "Make a corpus of it: `headroom tokenize FILE --out DIRECTORY`.");
  }
  if (bytes.size() > kLlmcHeaderBytes) {
    const auto rest = bytes.subspan(12, kLlmcHeaderBytes - 12);
    if (std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == std::byte{0}; })) {
      fail_token_file(path, "it opens like an llm.c file, but with an unknown magic number", kDamagedHint);
    }
  }
  TokenLayout layout;
  layout.form = "nanoGPT";
  layout.type = TokenType::u16;
  layout.count = file.size() / 2;
  layout.file = std::move(file);
  return layout;
}

}  // namespace

std::size_t size_of(TokenType type) {
  switch (type) {
    case TokenType::u8:
    case TokenType::i8:
      return 1;
    case TokenType::u16:
    case TokenType::i16:
      return 2;
    case TokenType::u32:
    case TokenType::i32:
      return 4;
    case TokenType::i64:
      return 8;
  }
  fail_check("type", __FILE__, __LINE__, "an unknown token type");
}

void fail_token_file(const std::filesystem::path& path, const std::string& what, const std::string& hint) {
  throw Error(ExitCode::bad_data, fmt::format("{}: {}", path.string(), what), hint);
}

TokenLayout open_token_layout(const std::filesystem::path& path) {
  if (path.extension() == ".idx") return open_megatron(path);
  MappedFile file(path);
  if (starts_with(file, kTokenMagic)) return open_headroom(path, std::move(file));
  if (path.extension() == ".tokens") {
    fail_token_file(path, fmt::format("it does not begin with {}, as a .tokens file must", kTokenMagic), kDamagedHint);
  }
  if (file.size() >= 4) {
    const auto magic = file.load<std::int32_t>(0);
    if (magic == kLlmcGpt2 || magic == kLlmcLlama3) return open_llmc(path, std::move(file), magic);
    if (magic == kLlmcEvaluation) {
      fail_token_file(path, "this is one of llm.c's evaluation sets (multiple choice), not running text");
    }
  }
  std::filesystem::path index = path;
  index.replace_extension(".idx");
  std::error_code error;
  if (std::filesystem::exists(index, error)) return open_megatron(index);
  return open_raw(path, std::move(file));
}

}  // namespace headroom
