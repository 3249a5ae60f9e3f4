// The fake device's addresses: the host's, shifted to where no process has memory.
#pragma once

#include <cstdint>

namespace headroom::fake {

inline constexpr std::uintptr_t kShift = std::uintptr_t{1} << 56;

inline void* device_address(void* host) {
  return host == nullptr ? nullptr : reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(host) + kShift);
}
inline void* host_address(const void* device) {
  return device == nullptr ? nullptr : reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(device) - kShift);
}

}  // namespace headroom::fake
