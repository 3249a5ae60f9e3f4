// Which device this process works on, and what it is.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace headroom::cuda {

// "NVIDIA H100 80GB HBM3, 79.2 GiB, compute 9.0", each. Empty without a driver or a device; what else the driver has to
// say it throws as ExitCode::usage.
std::vector<std::string> devices();

// Before anything else is asked of the device; the first device otherwise.
void select_device(int index);
// Makes the selected device that of the calling thread.
void use_device();

// Of the selected device: its UUID.
std::string device_id();
std::size_t total_bytes();
// Whether it is no device but threads on the CPU (tests/emulation).
bool device_is_emulated();

// "CUDA runtime 13.0", "CUDA driver 13.0" or "CUDA driver: none".
std::vector<std::string> cuda_versions();

}  // namespace headroom::cuda
