// What makes ids of text and text of ids, whatever file it was read from. Tokenizer (data/tokenizer.h) puts the rules
// that are common to all around it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headroom {

class TextEncoder {
 public:
  TextEncoder() = default;
  virtual ~TextEncoder() = default;
  TextEncoder(const TextEncoder&) = delete;
  TextEncoder& operator=(const TextEncoder&) = delete;

  // Appends the ids of valid UTF-8. Where it `continues` another text, no word boundary is put before it.
  virtual void encode(std::string_view text, bool continues, std::vector<std::int32_t>& ids) const = 0;
  // Ids that `has_piece` knows.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  virtual std::string piece(std::int32_t id) const = 0;

  virtual std::int32_t vocab_size() const = 0;  // one more than the largest id
  virtual bool has_piece(std::int32_t id) const = 0;
  virtual std::optional<std::int32_t> id_of(std::string_view token) const = 0;
};

}  // namespace headroom
