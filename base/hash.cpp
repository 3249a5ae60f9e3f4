#include "base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <new>

namespace headroom {

std::string hex_digits(std::uint64_t hash) {
  return fmt::format("{:016x}", hash);
}

std::uint64_t hash_of(std::span<const std::byte> bytes) {
  return XXH64(bytes.data(), bytes.size(), 0);
}

struct RunningHash::State {
  XXH64_state_t* hash = XXH64_createState();
  ~State() { XXH64_freeState(hash); }
};

RunningHash::RunningHash() : state_(std::make_unique<State>()) {
  if (state_->hash == nullptr) throw std::bad_alloc();
  XXH64_reset(state_->hash, 0);
}

RunningHash::~RunningHash() = default;

void RunningHash::add(std::string_view piece) {
  XXH64_update(state_->hash, piece.data(), piece.size());
  bytes_ += piece.size();
}

std::string RunningHash::digits() const {
  return hex_digits(XXH64_digest(state_->hash));
}

std::string hex_hash(std::string_view content) {
  return hex_digits(XXH64(content.data(), content.size(), 0));
}

}  // namespace headroom
