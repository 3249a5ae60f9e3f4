// Memory that collectives need for a while: blocks that are lent, returned, and reused, so that a training step
// allocates nothing after its first time.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "tensor/memory.h"

namespace headroom {

class ScratchPool {
 public:
  // At least `bytes` bytes, 64-byte aligned, contents undefined; goes back to the pool with the object. Must not
  // outlive the pool.
  class Loan {
   public:
    Loan(ScratchPool& pool, std::size_t bytes) : pool_(pool), block_(pool.take(bytes)) {}
    ~Loan() { pool_.free_.push_back(std::move(block_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;

    std::byte* data() const { return static_cast<std::byte*>(block_.data()); }

   private:
    ScratchPool& pool_;
    Buffer block_;
  };

 private:
  // The smallest free block that is large enough; otherwise a new one in place of the largest free one, so that the
  // pool never holds more blocks than were ever lent at once.
  Buffer take(std::size_t bytes);

  std::vector<Buffer> free_;
};

}  // namespace headroom
