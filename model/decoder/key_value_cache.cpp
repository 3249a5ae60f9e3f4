#include "model/decoder/key_value_cache.h"

#include <algorithm>

#include "base/error.h"

namespace headroom::decoder {

KeyValueCache::KeyValueCache(const Config& config, std::int64_t capacity)
    : capacity_(capacity),
      n_heads_(config.n_heads),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      memory_(static_cast<std::size_t>(2 * config.n_layers * config.kv_width() * capacity) * sizeof(float), Device::cpu,
              "cached keys and values") {}

float* KeyValueCache::keys(std::int64_t layer) const {
  return static_cast<float*>(memory_.data()) + 2 * layer * n_kv_heads_ * capacity_ * head_dim_;
}

void KeyValueCache::store(std::int64_t layer, const Tensor& qkv) {
  HEADROOM_CHECK(length_ + qkv.rows() <= capacity_, "{} tokens more than {} of {}", qkv.rows(), length_, capacity_);
  const std::int64_t whole = n_kv_heads_ * capacity_ * head_dim_;
  for (std::int64_t row = 0; row < qkv.rows(); ++row) {
    const float* from = qkv.data<float>() + row * qkv.columns() + n_heads_ * head_dim_;
    for (const std::int64_t offset : {std::int64_t{0}, whole}) {
      for (std::int64_t head = 0; head < n_kv_heads_; ++head, from += head_dim_) {
        std::copy_n(from, head_dim_, keys(layer) + offset + (head * capacity_ + length_ + row) * head_dim_);
      }
    }
  }
}

host::CachedKeys KeyValueCache::of(std::int64_t layer) const {
  return {keys(layer), keys(layer) + n_kv_heads_ * capacity_ * head_dim_, capacity_, length_};
}

void KeyValueCache::advance(std::int64_t tokens) {
  HEADROOM_CHECK(length_ + tokens <= capacity_, "{} tokens more than {} of {}", tokens, length_, capacity_);
  length_ += tokens;
}

}  // namespace headroom::decoder
