// Who owns memory: a Buffer one block of one device; an Arena one block cut into tensors by a plan made beforehand,
// so that a run knows before its first step what its tensors need, and allocates none during one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace headroom {

// Gives a block back to the device it came from.
struct ReleaseMemory {
  Device device = Device::cpu;
  void operator()(void* memory) const;
};

// One aligned, zeroed block of memory on a device; freed with the object.
class Buffer {
 public:
  Buffer() = default;
  // Throws ExitCode::out_of_memory naming the size; `purpose` goes into the message.
  Buffer(std::size_t bytes, Device device, const std::string& purpose);

  void* data() const { return memory_.get(); }
  std::size_t bytes() const { return bytes_; }

  // The whole block as one tensor; shape must fit exactly or less.
  Tensor tensor(Shape shape, DType dtype) const;

 private:
  std::unique_ptr<void, ReleaseMemory> memory_;
  std::size_t bytes_ = 0;
  Device device_ = Device::cpu;
};

// Hands out tensors one after another. Used twice with the same calls: first measuring (tensors with no memory
// behind them, only sizes counted), then for real.
//
//   Arena measure = Arena::measuring(Device::cpu);
//   make_activations(measure);
//   Arena arena(measure);               // allocates measure.bytes() once
//   auto activations = make_activations(arena);
class Arena {
 public:
  static Arena measuring(Device device);
  explicit Arena(const Arena& plan, const std::string& purpose);

  // A tensor of this shape, 64-byte aligned. `category` groups the sizes in the plan ("attention", "logits").
  // Throws ExitCode::internal when a real arena is asked for more than was measured.
  Tensor take(Shape shape, DType dtype, const std::string& category);

  // Starts handing out from the beginning again: the same memory cut for another pass. Earlier tensors become stale.
  void rewind();

  std::size_t bytes() const { return used_; }

  struct Category {
    std::string name;
    std::size_t bytes;
  };
  const std::vector<Category>& categories() const { return categories_; }

 private:
  explicit Arena(Device device) : device_(device) {}

  Device device_;
  Buffer block_;
  std::size_t used_ = 0;
  std::vector<Category> categories_;
};

}  // namespace headroom
