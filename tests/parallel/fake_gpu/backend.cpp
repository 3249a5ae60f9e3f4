// A GPU backend whose device can hold, copy and exchange tensors, and nothing else: for the tests of what lies between
// devices. Memory is the host's under shifted addresses, so that code which reads it without asking the device fails.
// Every process has a device of its own.
#include "tensor/backend.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tensor/cuda/runtime.h"
#include "tests/parallel/fake_gpu/memory.h"
#include "tests/parallel/fake_gpu/streams.h"

namespace headroom {

namespace cuda {

cudaStream_t stream() {
  static cudaStream_t made = [] {
    cudaStream_t created = nullptr;
    cudaStreamCreateWithPriority(&created, cudaStreamNonBlocking, 0);
    return created;
  }();
  return made;
}

void check(cudaError_t result, const char* call) {
  HEADROOM_CHECK(result == cudaSuccess, "{}: {}", call, static_cast<int>(result));
}

}  // namespace cuda

namespace fake {
namespace {

void* allocate(std::size_t bytes) {
  return device_address(std::calloc(1, bytes));
}

void release(void* memory) {
  synchronize(cuda::stream());
  std::free(host_address(memory));
}

void upload(const void* host, void* device, std::size_t bytes) {
  const std::shared_ptr<void> copy(std::malloc(bytes), std::free);
  std::memcpy(copy.get(), host, bytes);
  enqueue(cuda::stream(), [=] { std::memcpy(host_address(device), copy.get(), bytes); });
}

void download(const void* device, void* host, std::size_t bytes) {
  enqueue(cuda::stream(), [=] { std::memcpy(host, host_address(device), bytes); });
  synchronize(cuda::stream());
}

const OpTable& operations() {
  static const OpTable table = [] {
    OpTable made{};
    made.copy = [](const Tensor& x, Tensor y) {
      HEADROOM_CHECK(x.bytes() == y.bytes(), "copy of {} to {}", x.shape().text(), y.shape().text());
      enqueue(cuda::stream(),
              [=] { std::memcpy(host_address(y.raw()), host_address(x.raw()), static_cast<std::size_t>(x.bytes())); });
    };
    return made;
  }();
  return table;
}

Backend make_backend() {
  Backend fake;
  fake.operations = &operations();
  fake.allocate = allocate;
  fake.release = release;
  fake.available_bytes = [] { return std::size_t{1} << 30; };
  fake.peak_bytes = [] { return std::size_t{0}; };
  fake.upload = upload;
  fake.download = download;
  fake.synchronize = [] { synchronize(cuda::stream()); };
  fake.workspace_bytes = [] { return std::size_t{0}; };
  fake.set_workspace = [](void*, std::size_t) {};
  fake.devices = [] { return std::vector<std::string>{"a fake GPU"}; };
  fake.select_device = [](int) {};
  fake.device_id = [] { return fmt::format("fake GPU of process {}", getpid()); };
  fake.parts = [] { return std::vector<std::string>{}; };
  return fake;
}

}  // namespace
}  // namespace fake
}  // namespace headroom

extern "C" __attribute__((visibility("default"))) const headroom::Backend* headroom_backend() {
  static const headroom::Backend backend = headroom::fake::make_backend();
  return &backend;
}
