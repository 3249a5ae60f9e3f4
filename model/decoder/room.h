// Memory that one layer's weights after another are put into.
#pragma once

#include <cstdint>

#include "tensor/memory.h"
#include "tensor/round_up.h"

namespace headroom::decoder {

class Room {
 public:
  // Lets `load` take what it needs: twice where the room is too small, the first time to see how large it must be.
  template <class Load>
  void fill(const Load& load) {
    used_ = 0;
    load();
    if (used_ * sizeof(float) <= memory_.bytes()) return;
    memory_ = Buffer();  // first, so that there are never two
    memory_ = Buffer(used_ * sizeof(float), Device::cpu, "a layer's weights");
    used_ = 0;
    load();
  }

  // `count` numbers; null while the room is found to be too small.
  float* take(std::int64_t count) {
    const std::size_t begin = used_;
    used_ += round_up(static_cast<std::size_t>(count), std::size_t{64});
    return used_ * sizeof(float) <= memory_.bytes() ? static_cast<float*>(memory_.data()) + begin : nullptr;
  }

 private:
  Buffer memory_;
  std::size_t used_ = 0;
};

}  // namespace headroom::decoder
