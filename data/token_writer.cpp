#include "data/token_writer.h"

#include <xxhash.h>

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "base/mapped_file.h"
#include "data/token_format.h"

namespace headroom {
namespace {

std::filesystem::path with_suffix(std::filesystem::path path, const char* suffix) {
  return path += suffix;
}

}  // namespace

TokenWriter::TokenWriter(const std::filesystem::path& path, std::uint64_t vocab_size,
                         const std::string& tokenizer_fingerprint)
    : offsets_path_(with_suffix(path, ".offsets")),
      file_(path),
      offsets_(offsets_path_),
      vocab_size_(vocab_size),
      fingerprint_(tokenizer_fingerprint) {
  HEADROOM_CHECK(fingerprint_.size() == 16, "a tokenizer's fingerprint is 16 hex digits, not '{}'", fingerprint_);
  const TokenHeader unfinished = {};
  file_.write(&unfinished, sizeof unfinished);
}

void TokenWriter::begin_document() {
  offsets_.write(&tokens_, sizeof tokens_);
  ++documents_;
}

void TokenWriter::write(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    HEADROOM_CHECK(id >= 0 && static_cast<std::uint64_t>(id) < vocab_size_, "token {} of a vocabulary of {}", id,
                   vocab_size_);
  }
  if (token_bytes_for(vocab_size_) == 2) {
    narrow_.assign(ids.begin(), ids.end());
    file_.write(narrow_.data(), narrow_.size() * sizeof narrow_[0]);
  } else {
    file_.write(ids.data(), ids.size_bytes());
  }
  tokens_ += ids.size();
}

void TokenWriter::finish() {
  const char padding[8] = {};
  file_.write(padding, (8 - file_.written() % 8) % 8);
  offsets_.close();
  if (documents_ > 0) {
    const MappedFile offsets(offsets_path_);
    file_.write(offsets.bytes().data(), offsets.size());
  }
  std::filesystem::remove(offsets_path_);
  TokenHeader header = {};
  std::copy(kTokenMagic.begin(), kTokenMagic.end(), header.magic.begin());
  header.version = kTokenVersion;
  header.token_bytes = token_bytes_for(vocab_size_);
  header.vocab_size = vocab_size_;
  header.token_count = tokens_;
  header.document_count = documents_;
  std::copy(fingerprint_.begin(), fingerprint_.end(), header.tokenizer_fingerprint.begin());
  header.checksum = XXH64(&header, offsetof(TokenHeader, checksum), 0);
  file_.write_at_front(&header, sizeof header);
  file_.close();
}

}  // namespace headroom
