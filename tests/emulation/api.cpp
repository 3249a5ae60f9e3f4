#include "emulation/api.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <vector>

#include "tests/emulation/device_memory.h"
#include "tests/emulation/streams.h"

namespace headroom::emulation {
namespace {

constexpr int kVersion = 13000;
constexpr std::size_t kSharedBytes = 48 << 10;
constexpr std::size_t kSharedBytesOptin = 227 << 10;

cudaError_t last_error = cudaSuccess;

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}
cudaError_t result_of(bool fine) {
  return result(fine ? cudaSuccess : cudaErrorInvalidValue);
}

// HEADROOM_EMULATION_DEVICES=0 stands for a machine whose driver sees no device.
int device_count() {
  const char* named = std::getenv("HEADROOM_EMULATION_DEVICES");
  return named == nullptr ? 1 : std::atoi(named);
}

// Whether the bytes may be copied from or to as `kind` says: inside one block of the device, or not on the device.
bool fits(const void* memory, std::size_t bytes, bool on_device) {
  return range_of(memory, bytes) == (on_device ? Range::device : Range::host);
}

bool may_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice ||
                         (kind == cudaMemcpyDefault && range_of(to, bytes) == Range::device);
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice ||
                           (kind == cudaMemcpyDefault && range_of(from, bytes) == Range::device);
  return bytes == 0 || (fits(to, bytes, to_device) && fits(from, bytes, from_device));
}

// Host memory that the device reads and writes while the host goes on.
std::map<const void*, std::size_t>& pinned() {
  static auto& blocks = *new std::map<const void*, std::size_t>;
  return blocks;
}
bool is_pinned(const void* memory) {
  const auto after = pinned().upper_bound(memory);
  if (after == pinned().begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return memory < static_cast<const std::byte*>(begin) + bytes;
}

std::map<const void*, std::size_t>& granted_shared_bytes() {
  static auto& granted = *new std::map<const void*, std::size_t>;
  return granted;
}

}  // namespace

cudaError_t check_launch(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3& threads = config.blockDim;
  const dim3& blocks = config.gridDim;
  const bool some = threads.x > 0 && threads.y > 0 && threads.z > 0 && blocks.x > 0 && blocks.y > 0 && blocks.z > 0;
  const bool fitting = threads.x <= 1024 && threads.y <= 1024 && threads.z <= 64 &&
                       std::size_t{threads.x} * threads.y * threads.z <= 1024 && blocks.x <= 0x7fffffffU &&
                       blocks.y <= 65535 && blocks.z <= 65535;
  if (!some || !fitting) return result(cudaErrorInvalidConfiguration);
  const auto granted = granted_shared_bytes().find(kernel);
  const std::size_t limit = granted == granted_shared_bytes().end() ? kSharedBytes : granted->second;
  return result_of(config.dynamicSmemBytes <= limit);
}

}  // namespace headroom::emulation

using namespace headroom::emulation;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotReady:
      return "device not ready";
  }
  return "unrecognized error code";
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  return last_error;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count();
  return result(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return result(device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::strncpy(properties->name, "emulated device", sizeof(properties->name) - 1);
  std::strncpy(properties->uuid.bytes, "emulated device", sizeof(properties->uuid.bytes));
  properties->totalGlobalMem = total_device_bytes();
  properties->sharedMemPerBlock = kSharedBytes;
  properties->sharedMemPerBlockOptin = kSharedBytesOptin;
  properties->sharedMemPerMultiprocessor = kSharedBytesOptin + (1 << 10);
  properties->multiProcessorCount = 3;  // few, and no power of two: grids that depend on it get uneven
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->l2CacheSize = 1 << 20;
  properties->major = 9;
  return result(device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  *value = attribute == cudaDevAttrMultiProcessorCount ? properties.multiProcessorCount
                                                       : static_cast<int>(properties.sharedMemPerBlockOptin);
  return error;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int) {
  std::strncpy(id, "0000:00:00.0", static_cast<std::size_t>(length));
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = bytes == 0 ? nullptr : allocate_device(bytes);
  return result(*memory != nullptr || bytes == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* memory) {
  finish_all();
  return result_of(memory == nullptr || free_device(memory));
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  *memory = std::malloc(bytes);
  if (*memory != nullptr) pinned()[*memory] = bytes;
  return result(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) {
  finish_all();
  pinned().erase(memory);
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total) {
  *available = available_device_bytes();
  *total = total_device_bytes();
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  finish_all();
  if (!may_copy(to, from, bytes, kind)) return result(cudaErrorInvalidValue);
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!may_copy(to, from, bytes, kind)) return result(cudaErrorInvalidValue);
  if (bytes == 0) return cudaSuccess;
  const auto copy = [to, bytes](const void* source) { std::memmove(to, source, bytes); };
  if (range_of(from, bytes) == Range::host && !is_pinned(from)) {
    // What is not pinned is copied aside before the call returns.
    const auto* const numbers = static_cast<const std::byte*>(from);
    submit(stream, [copy, aside = std::vector<std::byte>(numbers, numbers + bytes)] { copy(aside.data()); });
  } else {
    submit(stream, [copy, from] { copy(from); });
  }
  if (range_of(to, bytes) == Range::host && !is_pinned(to)) finish(stream);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!fits(memory, bytes, true)) return result(cudaErrorInvalidValue);
  submit(stream, [memory, value, bytes] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  const bool fine = value >= 0 && static_cast<std::size_t>(value) <= kSharedBytesOptin;
  if (fine) granted_shared_bytes()[kernel] = static_cast<std::size_t>(value);
  return result_of(fine);
}
