// Memory for parts of a model or an optimizer on their own.
#pragma once

#include <memory>

#include "tensor/memory.h"

namespace headroom {

// One arena that all parts have allocated from; keep it as long as they are used.
template <class... Parts>
std::unique_ptr<Arena> arena_for(Parts&... parts) {
  return planned_arena(Device::cpu, "a test", [&](Arena& arena) { (parts.allocate(arena), ...); });
}

// One f64 number as an operation's argument.
class Number {
 public:
  explicit Number(double value) : value_(value) {}
  operator Tensor() { return Tensor(&value_, {1}, DType::f64); }
  double value() const { return value_; }

 private:
  double value_;
};

}  // namespace headroom
