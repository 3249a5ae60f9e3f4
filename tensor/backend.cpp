#include "tensor/backend.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/system.h"
#include "tensor/cpu/table.h"
#include "tensor/round_up.h"

namespace headroom {
namespace {

constexpr std::size_t kAlignment = 256;                  // that of tensors
constexpr std::size_t kHugePage = std::size_t{2} << 20;  // large blocks start on one, so the kernel can back them so

const Backend& cpu_backend() {
  static const Backend backend = [] {
    Backend cpu;
    cpu.operations = &cpu::op_table();
    cpu.allocate = [](std::size_t bytes) -> void* {
      // The kernel promises more than it has and ends the process when it is used; so we look first.
      if (bytes > static_cast<std::size_t>(available_memory_bytes())) return nullptr;
      const std::size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
      void* memory = std::aligned_alloc(alignment, round_up(bytes, alignment));
      if (memory != nullptr) std::memset(memory, 0, bytes);
      return memory;
    };
    cpu.release = [](void* memory) { std::free(memory); };
    cpu.available_bytes = [] { return static_cast<std::size_t>(available_memory_bytes()); };
    cpu.peak_bytes = [] { return static_cast<std::size_t>(peak_memory_bytes()); };
    cpu.upload = [](const void* host, void* device, std::size_t bytes) { std::memcpy(device, host, bytes); };
    cpu.download = [](const void* device, void* host, std::size_t bytes) { std::memcpy(host, device, bytes); };
    cpu.synchronize = [] {};
    cpu.waits = [] { return std::int64_t{0}; };
    cpu.workspace_bytes = [] { return std::size_t{0}; };  // every thread keeps its own (tensor/cpu/scratch.h)
    cpu.set_workspace = [](void*, std::size_t) {};
    cpu.devices = [] { return std::vector<std::string>{"host memory"}; };
    cpu.select_device = [](int) {};
    cpu.device_id = [] { return std::string("cpu"); };
    cpu.parts = [] { return std::vector<std::string>{}; };
    return cpu;
  }();
  return backend;
}

// The library, or why there is none; opened once.
struct GpuLibrary {
  void* handle = nullptr;
  const Backend* backend = nullptr;
  std::string failure;
};

GpuLibrary open_gpu_library() {
  GpuLibrary library;
  const std::string path = gpu_library_path();
  if (!std::filesystem::exists(path)) {
    library.failure = fmt::format("this build has no GPU backend ({} is not there)", path);
    return library;
  }
  library.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library.handle == nullptr) {
    library.failure = fmt::format("the GPU backend does not load: {}", dlerror());
    return library;
  }
  const auto make = reinterpret_cast<const Backend* (*)()>(dlsym(library.handle, "headroom_backend"));
  if (make == nullptr) {
    library.failure = fmt::format("{} is no backend of this program", path);
    return library;
  }
  const Backend* found = make();
  if (found->version != Backend::kVersion) {
    library.failure = fmt::format("{} is of another build (interface {}, this program has {})", path, found->version,
                                  Backend::kVersion);
    return library;
  }
  library.backend = found;
  return library;
}

const GpuLibrary& gpu_library() {
  static const GpuLibrary library = open_gpu_library();
  return library;
}

// What the backend says of the driver, the usual reason for seeing no GPU.
std::string driver_part(const Backend& gpu) {
  for (const std::string& part : gpu.parts()) {
    if (part.starts_with("CUDA driver")) return part;
  }
  return "CUDA_VISIBLE_DEVICES may hide it";
}

}  // namespace

std::string gpu_library_path() {
  if (const char* named = std::getenv("HEADROOM_CUDA_LIBRARY")) return named;
  const char* const name = "libheadroom_cuda.so";
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::filesystem::path installed = program / ".." / "lib" / name;
  return std::filesystem::exists(installed) ? installed.lexically_normal().string() : (program / name).string();
}

void* gpu_library_symbol(const char* name) {
  return gpu_library().handle == nullptr ? nullptr : dlsym(gpu_library().handle, name);
}

bool gpu_by_default() {
  // The backend brings some 200 MB of CUDA's libraries with it: where there is no driver it is not even opened.
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) return false;
  dlclose(driver);
  return !why_no_gpu() && !gpu_library().backend->devices().front().starts_with("emulated");
}

std::vector<std::string> gpu_parts() {
  return gpu_library().backend == nullptr ? std::vector<std::string>{} : gpu_library().backend->parts();
}

std::optional<std::string> why_no_gpu() {
  const GpuLibrary& library = gpu_library();
  if (library.backend == nullptr) return library.failure;
  try {
    if (library.backend->devices().empty()) return "no GPU is seen (" + driver_part(*library.backend) + ")";
  } catch (const Error& error) {
    return error.what();
  }
  return std::nullopt;
}

const Backend& backend(Device device) {
  if (device == Device::cpu) return cpu_backend();
  static const Backend& gpu = [&]() -> const Backend& {
    if (const std::optional<std::string> reason = why_no_gpu()) {
      throw Error(ExitCode::usage, "no GPU to run on: " + *reason,
                  "`headroom doctor` says what was found. Set device = \"cpu\" to run without a GPU.");
    }
    return *gpu_library().backend;
  }();
  return gpu;
}

}  // namespace headroom
