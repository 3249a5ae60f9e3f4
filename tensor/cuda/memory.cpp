#include "tensor/cuda/memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>

#include "tensor/cuda/device.h"
#include "tensor/cuda/runtime.h"

namespace headroom::cuda {
namespace {

// Device blocks in use. Any thread may allocate.
struct Account {
  std::mutex mutex;
  std::map<void*, std::size_t> blocks;
  std::size_t used = 0;
  std::size_t peak = 0;
};
Account& account() {
  static auto& made = *new Account;  // never destroyed: buffers of static objects are released late
  return made;
}

std::int64_t wait_count = 0;  // one thread works the device

// Pinned host memory that uploads pass through, piece by piece: the device copies one piece while the host fills the
// next, and nobody waits for the stream's earlier work unless all pieces are under way.
class Staging {
 public:
  void upload(const std::byte* host, std::byte* device, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < bytes; done += kPieceBytes) {
      const std::size_t count = std::min(kPieceBytes, bytes - done);
      Slot& slot = next_free();
      std::memcpy(slot.memory, host + done, count);
      check(cudaMemcpyAsync(device + done, slot.memory, count, cudaMemcpyHostToDevice, stream()), "upload");
      check(cudaEventRecord(slot.passed, stream()), "upload");
    }
  }

 private:
  // As many slots as a step uploads small tables (the tokens of some twenty micro-batches), so that none waits for the
  // device to have passed one; large copies go piece by piece.
  static constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
  static constexpr std::size_t kSlots = 96;
  struct Slot {
    std::byte* memory = nullptr;
    cudaEvent_t passed = nullptr;  // the copy out of it is done
  };

  Slot& next_free() {
    Slot& slot = slots_[next_];
    next_ = (next_ + 1) % slots_.size();
    if (slot.memory == nullptr) {
      void* memory = nullptr;
      check(cudaMallocHost(&memory, kPieceBytes), "cudaMallocHost");
      slot.memory = static_cast<std::byte*>(memory);
      check(cudaEventCreateWithFlags(&slot.passed, cudaEventDisableTiming), "cudaEventCreate");
    } else if (cudaEventQuery(slot.passed) != cudaSuccess) {
      ++wait_count;
      check(cudaEventSynchronize(slot.passed), "upload");
    }
    return slot;
  }

  std::mutex mutex_;
  std::array<Slot, kSlots> slots_;
  std::size_t next_ = 0;
};

void wait_for_stream(const char* call) {
  ++wait_count;
  check(cudaStreamSynchronize(stream()), call);
}

}  // namespace

void* allocate(std::size_t bytes) {
  use_device();
  void* memory = nullptr;
  const cudaError_t result = cudaMalloc(&memory, std::max<std::size_t>(bytes, 1));  // of nothing it would be null
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // said and done: it would be reported again by the next launch
    return nullptr;
  }
  check(result, "cudaMalloc");
  check(cudaMemsetAsync(memory, 0, bytes, stream()), "cudaMemsetAsync");
  const std::lock_guard lock(account().mutex);
  account().blocks[memory] = bytes;
  account().used += bytes;
  account().peak = std::max(account().peak, account().used);
  return memory;
}

void release(void* memory) {
  if (memory == nullptr) return;
  {
    const std::lock_guard lock(account().mutex);
    const auto block = account().blocks.find(memory);
    if (block != account().blocks.end()) {
      account().used -= block->second;
      account().blocks.erase(block);
    }
  }
  // Called by destructors: a failure here is one that the next operation will report, or of a process that ends.
  cudaFree(memory);
}

std::size_t peak_bytes() {
  const std::lock_guard lock(account().mutex);
  return account().peak;
}

std::size_t available_bytes() {
  use_device();
  std::size_t available = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
  return available;
}

void upload(const void* host, void* device, std::size_t bytes) {
  static auto& staging = *new Staging;  // pinned memory goes with the process
  staging.upload(static_cast<const std::byte*>(host), static_cast<std::byte*>(device), bytes);
}

void download(const void* device, void* host, std::size_t bytes) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()), "download");
  wait_for_stream("download");
}

void synchronize() {
  wait_for_stream("synchronize");
}

std::int64_t waits() {
  return wait_count;
}

}  // namespace headroom::cuda
