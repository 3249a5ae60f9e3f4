// The device's memory, for Backend: blocks with an account of them, and copies between host and device.
#pragma once

#include <cstddef>
#include <cstdint>

namespace headroom::cuda {

// Zeroed, 256-byte aligned; null when there is not enough.
void* allocate(std::size_t bytes);
// Waits for the device's work, which may still use the block.
void release(void* memory);
// By allocate, in this process.
std::size_t peak_bytes();
std::size_t available_bytes();

// In the order of the operations' stream. `upload` returns when `host` may be changed, `download` when the numbers are
// there.
void upload(const void* host, void* device, std::size_t bytes);
void download(const void* device, void* host, std::size_t bytes);
// Returns when the device has done everything it was asked to.
void synchronize();
// How often the host has waited for the device: in `download`, in `synchronize`, and in `upload` where the device is so
// far behind that no staging memory is free.
std::int64_t waits();

}  // namespace headroom::cuda
