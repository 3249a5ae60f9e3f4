// A fiber: a stack and what runs on it. Tells the address sanitizer about every switch.
#pragma once

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include <functional>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace headroom::emulation {

class Fiber {
 public:
  static constexpr std::size_t kStackBytes = 256 << 10;  // the end of it is a forbidden page

  // `body` runs when the fiber is first resumed and must never return.
  explicit Fiber(std::function<void()> body)
      : body_(std::move(body)),
        stack_(allocator_.allocate()),
        own_(std::allocator_arg, boost::context::preallocated(stack_.sp, stack_.size, stack_), allocator_,
             [this](boost::context::fiber&& resumer) {
               resumer_ = std::move(resumer);
               finish_switch(nullptr, &resumer_bottom_, &resumer_bytes_);
               body_();
               return std::move(resumer_);
             }) {}
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // From outside: runs it until it suspends.
  void resume() {
    void* frames = nullptr;
    start_switch(&frames, static_cast<char*>(stack_.sp) - stack_.size, stack_.size);
    own_ = std::move(own_).resume();
    finish_switch(frames, nullptr, nullptr);
  }
  // From inside: back to whoever resumed.
  void suspend() {
    void* frames = nullptr;
    start_switch(&frames, resumer_bottom_, resumer_bytes_);
    resumer_ = std::move(resumer_).resume();
    finish_switch(frames, &resumer_bottom_, &resumer_bytes_);
  }
  // Whether an address is in the forbidden page at the stack's end.
  bool overflows_at(const void* address) const {
    const char* bottom = static_cast<char*>(stack_.sp) - stack_.size;
    return address >= bottom && address < bottom + (4 << 10);
  }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static void start_switch(void** frames, const void* bottom, std::size_t bytes) {
    __sanitizer_start_switch_fiber(frames, bottom, bytes);
  }
  static void finish_switch(void* frames, const void** bottom, std::size_t* bytes) {
    __sanitizer_finish_switch_fiber(frames, bottom, bytes);
  }
#else
  static void start_switch(void**, const void*, std::size_t) {}
  static void finish_switch(void*, const void**, std::size_t*) {}
#endif

  std::function<void()> body_;
  boost::context::protected_fixedsize_stack allocator_{kStackBytes};
  boost::context::stack_context stack_;
  const void* resumer_bottom_ = nullptr;
  std::size_t resumer_bytes_ = 0;
  boost::context::fiber resumer_;
  boost::context::fiber own_;
};

}  // namespace headroom::emulation
