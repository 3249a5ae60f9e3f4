// What a device brings: its memory, its operations, its way to exchange tensors. The CPU's backend is part of the
// program; a GPU's is a shared library, opened when a GPU is asked for, so that a run on the CPU needs and pays
// nothing of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tensor/ops.h"

namespace headroom {

struct Backend {
  // Counts up with every change of this struct or of OpTable; a library of another version is refused.
  static constexpr int kVersion = 3;
  int version = kVersion;

  const OpTable* operations = nullptr;

  // Memory. `allocate` returns zeroed memory, 256-byte aligned, or null when there is not enough.
  void* (*allocate)(std::size_t bytes) = nullptr;
  void (*release)(void* memory) = nullptr;
  std::size_t (*available_bytes)() = nullptr;
  std::size_t (*peak_bytes)() = nullptr;  // the most that was in use by this process
  // Copies in the order of the device's work. `upload` returns when `host` may be changed, `download` when the
  // numbers are there.
  void (*upload)(const void* host, void* device, std::size_t bytes) = nullptr;
  void (*download)(const void* device, void* host, std::size_t bytes) = nullptr;
  // Returns when the device has done everything it was asked to.
  void (*synchronize)() = nullptr;
  // How often the host has waited for the device: downloads, synchronisations, and uploads that the device is too far
  // behind for.
  std::int64_t (*waits)() = nullptr;

  // Working memory of the operations for products and sums; until given, the backend allocates its own.
  std::size_t (*workspace_bytes)() = nullptr;
  void (*set_workspace)(void* memory, std::size_t bytes) = nullptr;

  // The devices this process sees, and the one it works on.
  std::vector<std::string> (*devices)() = nullptr;  // "NVIDIA H100 80GB HBM3, 79.2 GiB, compute 9.0"
  void (*select_device)(int index) = nullptr;
  std::string (*device_id)() = nullptr;  // of the selected one: the same for two ranks exactly if they share it
  // What it is made of: "CUDA runtime 13.0", "cuBLASLt 13.1", ..., one a line.
  std::vector<std::string> (*parts)() = nullptr;
};

// The device's backend. For Device::cuda opens its library first, if that has not been done. Throws ExitCode::usage
// saying what is missing and how to get it.
const Backend& backend(Device device);

// Why the GPU backend cannot be used here, or nothing if it can: no library in this build, a library it needs is
// missing, no driver, no device.
std::optional<std::string> why_no_gpu();

// The library's file, whether it is there or not: HEADROOM_CUDA_LIBRARY, or libheadroom_cuda.so beside the program or
// in ../lib.
std::string gpu_library_path();

// Whether there is a GPU that a run should choose unasked: one that is usable and not emulated (tests/emulation).
bool gpu_by_default();

// Backend::parts of the GPU's library, also where it cannot be used; empty where it does not load.
std::vector<std::string> gpu_parts();

// A function that the GPU backend's library exports beyond its Backend, or null.
void* gpu_library_symbol(const char* name);

}  // namespace headroom
