#include "tensor/memory.h"

#include <algorithm>

#include "base/system.h"
#include "tensor/backend.h"
#include "tensor/round_up.h"

namespace headroom {
namespace {

constexpr std::size_t kAlignment = 256;  // of tensors: a GPU's transactions, and more than a CPU's cache line

// " (attention 1.5 GiB, logits 0.3 GiB)", the largest first.
std::string itemised(std::vector<Arena::Category> categories) {
  std::sort(categories.begin(), categories.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  std::string text;
  for (const Arena::Category& category : categories) {
    text += fmt::format("{}{} {}", text.empty() ? " (" : ", ", category.name,
                        memory_text(static_cast<std::int64_t>(category.bytes)));
  }
  return text.empty() ? text : text + ")";
}

}  // namespace

void ReleaseMemory::operator()(void* memory) const {
  backend(device).release(memory);
}

Buffer::Buffer(std::size_t bytes, Device device, const std::string& purpose) : bytes_(bytes), device_(device) {
  if (bytes == 0) return;
  void* memory = backend(device).allocate(bytes);
  if (memory == nullptr) {
    throw Error(ExitCode::out_of_memory,
                fmt::format("no memory for {}: {} needed, {} available{}", purpose,
                            memory_text(static_cast<std::int64_t>(bytes)),
                            memory_text(static_cast<std::int64_t>(backend(device).available_bytes())),
                            device == Device::cpu ? "" : " on the GPU"),
                "Use a smaller train.micro_batch, more train.recompute, or more ranks.");
  }
  memory_ = {memory, ReleaseMemory{device}};
}

Tensor Buffer::tensor(Shape shape, DType dtype) const {
  const auto wanted = static_cast<std::size_t>(shape.elements()) * size_of(dtype);
  HEADROOM_CHECK(wanted <= bytes_, "a tensor {} of {} bytes in a buffer of {}", shape.text(), wanted, bytes_);
  return Tensor(memory_.get(), shape, dtype, device_);
}

Arena Arena::measuring(Device device) {
  return Arena(device);
}

Arena::Arena(const Arena& plan, const std::string& purpose)
    : device_(plan.device_),
      block_(plan.used_, plan.device_, purpose + itemised(plan.categories_)),
      categories_(plan.categories_) {}

void Arena::rewind(std::size_t mark) {
  HEADROOM_CHECK(mark <= used_, "an arena rewound from {} to {}", used_, mark);
  used_ = mark;
}

Tensor Arena::take(Shape shape, DType dtype, const std::string& category) {
  const std::size_t bytes = round_up(static_cast<std::size_t>(shape.elements()) * size_of(dtype), kAlignment);
  const std::size_t offset = used_;
  used_ += bytes;
  if (block_.data() == nullptr) {  // measuring
    const auto known = std::find_if(categories_.begin(), categories_.end(),
                                    [&](const Category& entry) { return entry.name == category; });
    if (known == categories_.end()) {
      categories_.push_back({category, bytes});
    } else {
      known->bytes += bytes;
    }
    return Tensor(nullptr, shape, dtype, device_);
  }
  HEADROOM_CHECK(used_ <= block_.bytes(), "the arena was planned for {} bytes; {} brings it to {}", block_.bytes(),
                 category, used_);
  return Tensor(static_cast<std::byte*>(block_.data()) + offset, shape, dtype, device_);
}

}  // namespace headroom
