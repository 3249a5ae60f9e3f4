#include "tensor/cuda/device.h"

#include <string_view>

#include "tensor/cuda/runtime.h"

namespace headroom::cuda {
namespace {

int selected = 0;

cudaDeviceProp properties_of(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return properties;
}

// Of the selected device, asked once.
const cudaDeviceProp& properties() {
  static const cudaDeviceProp known = properties_of(selected);
  return known;
}

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

std::vector<std::string> devices() {
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result != cudaSuccess) {
    cudaGetLastError();
    if (result == cudaErrorInsufficientDriver || result == cudaErrorNoDevice) return {};
    throw Error(ExitCode::usage,
                fmt::format("the CUDA driver says: {} ({})", cudaGetErrorString(result), cudaGetErrorName(result)));
  }
  std::vector<std::string> names;
  for (int device = 0; device < count; ++device) {
    const cudaDeviceProp found = properties_of(device);
    constexpr double kGiB = 1 << 30;
    names.push_back(fmt::format("{}, {:.1f} GiB, compute {}.{}", found.name,
                                static_cast<double>(found.totalGlobalMem) / kGiB, found.major, found.minor));
  }
  return names;
}

void select_device(int index) {
  selected = index;
  use_device();
}

void use_device() {
  check(cudaSetDevice(selected), "cudaSetDevice");
}

std::string device_id() {
  std::string text = "GPU";  // as nvidia-smi writes it: groups of 4, 2, 2, 2 and 6 bytes
  for (int i = 0; i < 16; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(properties().uuid.bytes[i]));
  }
  return text;
}

std::size_t total_bytes() {
  return properties().totalGlobalMem;
}

bool device_is_emulated() {
  return std::string_view(properties().name).starts_with("emulated");
}

const DeviceFacts& device_facts() {
  static const DeviceFacts facts{properties().multiProcessorCount, properties().sharedMemPerBlockOptin};
  return facts;
}

std::vector<std::string> cuda_versions() {
  int runtime = 0;
  int driver = 0;
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  std::string driver_text = driver == 0 ? "CUDA driver: none" : "CUDA driver " + version_text(driver);
  if (driver != 0 && driver / 1000 < runtime / 1000) driver_text += ", too old for this runtime";
  return {"CUDA runtime " + version_text(runtime), driver_text};
}

}  // namespace headroom::cuda
