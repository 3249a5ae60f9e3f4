// The keys and values of a sequence's tokens so far, of every layer, so that the next token needs no pass over those
// before it.
#pragma once

#include <cstdint>

#include "model/decoder/config.h"
#include "tensor/cached_attention.h"
#include "tensor/memory.h"

namespace headroom::decoder {

class KeyValueCache {
 public:
  // Room for `capacity` tokens. Throws ExitCode::out_of_memory.
  KeyValueCache(const Config& config, std::int64_t capacity);

  // Tokens whose keys and values every layer has.
  std::int64_t length() const { return length_; }

  // Keys and values of the tokens behind those, out of rows of queries, keys and values [tokens, qkv width].
  void store(std::int64_t layer, const Tensor& qkv);
  // What was stored of a layer, before and behind length().
  host::CachedKeys of(std::int64_t layer) const;
  // Forgets all tokens.
  void clear() { length_ = 0; }
  // After all layers: so many tokens more are there.
  void advance(std::int64_t tokens);

 private:
  float* keys(std::int64_t layer) const;

  std::int64_t capacity_;
  std::int64_t n_heads_;  // of queries
  std::int64_t n_kv_heads_;
  std::int64_t head_dim_;
  std::int64_t length_ = 0;
  Buffer memory_;  // [layers, keys or values, n_kv_heads, capacity, head_dim]
};

}  // namespace headroom::decoder
