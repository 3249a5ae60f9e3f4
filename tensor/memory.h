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

// One aligned, zeroed block of memory on a device; freed with the object. Throws as `backend` does when the device is
// not there.
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

  // A tensor of this shape, 256-byte aligned. `category` groups the sizes in the plan ("attention", "logits").
  // Throws ExitCode::internal when a real arena is asked for more than was measured.
  Tensor take(Shape shape, DType dtype, const std::string& category);

  // Hands out again what was taken since bytes() was `mark`: the same memory cut for another pass. The tensors taken
  // since then become stale.
  void rewind(std::size_t mark);

  std::size_t bytes() const { return used_; }
  Device device() const { return device_; }

  struct Category {
    std::string name;
    std::size_t bytes;
  };
  // As measured.
  const std::vector<Category>& categories() const { return categories_; }

 private:
  explicit Arena(Device device) : device_(device) {}

  Device device_;
  Buffer block_;
  std::size_t used_ = 0;
  std::vector<Category> categories_;
};

// One arena for everything that `cut(arena)` takes: measured, allocated, cut.
template <class Cut>
std::unique_ptr<Arena> planned_arena(Device device, const std::string& purpose, const Cut& cut) {
  Arena measure = Arena::measuring(device);
  cut(measure);
  auto arena = std::make_unique<Arena>(measure, purpose);
  cut(*arena);
  return arena;
}

}  // namespace headroom
