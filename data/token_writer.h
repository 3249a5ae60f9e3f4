// Writes one split of a corpus as Headroom's token file, front to back, in constant memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/file_writer.h"

namespace headroom {

class TokenWriter {
 public:
  // `path` must lie in a directory that is renamed into place: until `finish` the file is not valid. Document offsets
  // wait in `path`.offsets, which `finish` removes. Throws ExitCode::disk_full when the disk refuses.
  TokenWriter(const std::filesystem::path& path, std::uint64_t vocab_size, const std::string& tokenizer_fingerprint);

  // The tokens that follow belong to a new document.
  void begin_document();
  // Throws ExitCode::internal for an id outside the vocabulary.
  void write(std::span<const std::int32_t> ids);
  // Puts the offsets after the tokens and the header in front. Nothing can be written afterwards.
  void finish();

  std::uint64_t tokens() const { return tokens_; }
  std::uint64_t documents() const { return documents_; }

 private:
  std::filesystem::path offsets_path_;
  FileWriter file_;
  FileWriter offsets_;
  std::uint64_t vocab_size_;
  std::string fingerprint_;
  std::uint64_t tokens_ = 0;
  std::uint64_t documents_ = 0;
  std::vector<std::uint16_t> narrow_;
};

}  // namespace headroom
