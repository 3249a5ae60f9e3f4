// Device memory of the emulated device: host memory, each block between two pages that nobody may touch, its end at
// the second of them but for an alignment of 16 bytes. What lies between the block and the pages is checked when it is
// freed.
#pragma once

#include <cstddef>
#include <string>

namespace headroom::emulation {

// Null when the device is full. Contents: 0xff..., a NaN in every format.
void* allocate_device(std::size_t bytes);
// False if it is no such block. Ends the process if somebody wrote beside the block.
bool free_device(void* address);
std::size_t available_device_bytes();
std::size_t total_device_bytes();

enum class Range { device, host, broken };
// Of the bytes from `address` on: inside one block, in no block, or partly so.
Range range_of(const void* address, std::size_t bytes);

// "4 bytes behind a block of 1024 bytes", for an address where nothing may be accessed; empty if it has nothing to do
// with device memory. Called by signal handlers.
std::string describe_address(const void* address);

}  // namespace headroom::emulation
