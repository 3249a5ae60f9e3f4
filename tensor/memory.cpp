#include "tensor/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/system.h"
#include "tensor/round_up.h"

namespace headroom {
namespace {

constexpr std::size_t kAlignment = 64;                   // a cache line, and the widest vector
constexpr std::size_t kHugePage = std::size_t{2} << 20;  // large blocks start on one, so the kernel can back them so

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
  std::free(memory);
}

Buffer::Buffer(std::size_t bytes, Device device, const std::string& purpose) : bytes_(bytes), device_(device) {
  HEADROOM_CHECK(device == Device::cpu, "memory for {} on a device without a backend", purpose);
  if (bytes == 0) return;
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  // The kernel promises more than it has and ends the process when it is used; so we look first.
  const std::int64_t available = available_memory_bytes();
  const bool fits = bytes <= static_cast<std::size_t>(available);
  void* memory = fits ? std::aligned_alloc(alignment, round_up(bytes, alignment)) : nullptr;
  if (memory == nullptr) {
    throw Error(ExitCode::out_of_memory,
                fmt::format("no memory for {}: {} needed, {} available", purpose,
                            memory_text(static_cast<std::int64_t>(bytes)), memory_text(available)),
                "Use a smaller train.micro_batch, train.recompute = \"block\", or more ranks.");
  }
  std::memset(memory, 0, bytes);
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
    : device_(plan.device_), block_(plan.used_, plan.device_, purpose + itemised(plan.categories_)) {}

void Arena::rewind() {
  used_ = 0;
  categories_.clear();
}

Tensor Arena::take(Shape shape, DType dtype, const std::string& category) {
  const std::size_t bytes = round_up(static_cast<std::size_t>(shape.elements()) * size_of(dtype), kAlignment);
  const std::size_t offset = used_;
  used_ += bytes;
  const auto known = std::find_if(categories_.begin(), categories_.end(),
                                  [&](const Category& entry) { return entry.name == category; });
  if (known == categories_.end()) {
    categories_.push_back({category, bytes});
  } else {
    known->bytes += bytes;
  }
  if (block_.data() == nullptr) return Tensor(nullptr, shape, dtype, device_);
  HEADROOM_CHECK(used_ <= block_.bytes(), "the arena was planned for {} bytes; {} brings it to {}", block_.bytes(),
                 category, used_);
  return Tensor(static_cast<std::byte*>(block_.data()) + offset, shape, dtype, device_);
}

}  // namespace headroom
