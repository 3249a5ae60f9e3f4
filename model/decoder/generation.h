// A sequence that is read token by token, or goes on by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/decoder/decoder.h"
#include "model/decoder/key_value_cache.h"
#include "model/decoder/sampling.h"

namespace headroom::decoder {

class Reader {
 public:
  // For up to `capacity` tokens; the decoder must outlive it.
  Reader(Decoder& decoder, std::int64_t capacity);

  // Reads on; the logits behind the last token [vocab_size], valid until the next call. What was read before is not
  // computed again, unless longrope has other angles for a sequence that has become long. Throws what Decoder::embed
  // throws.
  std::span<const float> read(std::span<const std::int32_t> ids);

  std::int64_t length() const { return cache_.length(); }

 private:
  Decoder& decoder_;
  KeyValueCache cache_;
  Sequence ids_;  // read so far
  std::vector<float> logits_;
};

struct GenerationOptions {
  std::int64_t max_tokens = 128;
  Sampling sampling;
  std::vector<std::int32_t> ends;  // tokens that end the text; they are not part of it
  std::int64_t choices = 0;        // only the first so many ids are chosen: those that a tokenizer knows; 0: all
};

// What follows the prompt, which holds a token at least. `each` hears of every token at once. Ends before max_tokens at
// one of `ends`, or where the model has no more learned positions.
std::vector<std::int32_t> generate(Decoder& decoder, const Sequence& prompt, const GenerationOptions& options,
                                   const std::function<void(std::int32_t token)>& each);

}  // namespace headroom::decoder
