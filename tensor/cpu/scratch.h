// Working memory of one thread, kept between calls: after the first step nothing large is allocated.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "tensor/round_up.h"

namespace headroom::cpu {

namespace detail {
class ThreadScratch {
 public:
  void* at_least(std::size_t bytes) {
    if (bytes > bytes_) {
      constexpr std::size_t kPage = 4096;
      const std::size_t rounded = round_up(bytes, kPage);
      memory_.reset(std::aligned_alloc(kPage, rounded));
      bytes_ = memory_ ? rounded : 0;
      if (!memory_) throw std::bad_alloc();
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t bytes_ = 0;
};
}  // namespace detail

// `count` uninitialised elements, aligned to a page, valid until this thread's next call.
template <class T>
T* thread_scratch(std::size_t count) {
  thread_local detail::ThreadScratch scratch;
  return static_cast<T*>(scratch.at_least(count * sizeof(T)));
}

}  // namespace headroom::cpu
