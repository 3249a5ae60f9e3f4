#include "tensor/cuda/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tensor/cuda/device.h"
#include "tensor/round_up.h"

namespace headroom::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
// Products and reductions need little; cuDNN's deterministic attention takes as many sequences at a time as there is
// room for, and one of 2048 tokens with 32 heads has 256 MiB. Small devices do with less.
constexpr std::size_t kWorkspaceBytes = std::size_t{320} << 20;
constexpr std::size_t kDeviceShare = 128;
// Of what the backend takes for itself while it has no workspace: pieces of at least this size.
constexpr std::size_t kOwnBytes = std::size_t{32} << 20;

// A stretch of working memory. Stretches follow each other, `begin` being the sum of the sizes before.
struct Stretch {
  std::byte* memory;
  std::size_t begin;
  std::size_t bytes;
};

class WorkingMemory {
 public:
  // The place for `bytes` more after the first `used` of an operation, which it moves on.
  void* take(std::size_t bytes, std::size_t& used) {
    bytes = round_up(std::max<std::size_t>(bytes, 1), kAlignment);
    for (const Stretch& stretch : stretches_) {
      const std::size_t begin = std::max(used, stretch.begin);
      if (begin + bytes > stretch.begin + stretch.bytes) continue;
      used = begin + bytes;
      return stretch.memory + (begin - stretch.begin);
    }
    HEADROOM_CHECK(!given_, "an operation needs {} bytes of working memory after {} of {}", bytes, used,
                   stretches_.front().bytes);
    grow(std::max(bytes, kOwnBytes));
    return take(bytes, used);
  }

  void set(void* memory, std::size_t bytes) {
    if (!given_ && !stretches_.empty()) {
      check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
      for (const Stretch& stretch : stretches_) check(cudaFree(stretch.memory), "cudaFree");
    }
    stretches_.clear();
    given_ = memory != nullptr;
    if (given_) stretches_.push_back({static_cast<std::byte*>(memory), 0, bytes});
  }

 private:
  // What an operation has already been given stays where it is, so memory grows by more of it.
  void grow(std::size_t bytes) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes), "cudaMalloc of working memory");
    const std::size_t begin = stretches_.empty() ? 0 : stretches_.back().begin + stretches_.back().bytes;
    stretches_.push_back({static_cast<std::byte*>(memory), begin, bytes});
  }

  std::vector<Stretch> stretches_;
  bool given_ = false;
};

// The same with a block for every take, so that whoever watches blocks (compute-sanitizer, the emulated device) sees
// where each ends. An operation's blocks live until the next operation takes some.
class SeparateBlocks {
 public:
  void* take(std::size_t bytes, std::size_t& used) {
    if (used == 0) drop();
    const std::size_t rounded = round_up(std::max<std::size_t>(bytes, 1), kAlignment);
    HEADROOM_CHECK(limit_ == 0 || used + rounded <= limit_,
                   "an operation needs {} bytes of working memory after {} of {}", bytes, used, limit_);
    used += rounded;
    void* memory = nullptr;
    check(cudaMalloc(&memory, std::max<std::size_t>(bytes, 1)), "cudaMalloc of working memory");
    blocks_.push_back(memory);
    return memory;
  }
  void set(std::size_t limit) { limit_ = limit; }

 private:
  void drop() {
    if (!blocks_.empty()) check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
    for (void* block : blocks_) check(cudaFree(block), "cudaFree");
    blocks_.clear();
  }
  std::vector<void*> blocks_;
  std::size_t limit_ = 0;  // 0: none
};

// Never destroyed: memory goes with the process.
WorkingMemory& working_memory() {
  static auto& made = *new WorkingMemory;
  return made;
}
SeparateBlocks& separate_blocks() {
  static auto& made = *new SeparateBlocks;
  return made;
}

// Whether takes are separate blocks: as HEADROOM_SCRATCH_BLOCKS says (1 or 0), else on the emulated device only.
bool separately() {
  static const bool asked = [] {
    const char* named = std::getenv("HEADROOM_SCRATCH_BLOCKS");
    return named == nullptr ? device_is_emulated() : std::strcmp(named, "0") != 0;
  }();
  return asked;
}

}  // namespace

cudaStream_t stream() {
  static cudaStream_t made = [] {
    cudaStream_t created = nullptr;
    use_device();
    check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "cudaStreamCreate");
    return created;
  }();
  return made;
}

void check(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return;
  cudaGetLastError();  // said now: the next launch would report it again
  const std::string message = fmt::format("{}: {} ({})", call, cudaGetErrorString(result), cudaGetErrorName(result));
  if (result == cudaErrorMemoryAllocation) {
    throw Error(ExitCode::out_of_memory, message, "Other processes may hold memory of this GPU: see nvidia-smi.");
  }
  throw Error(ExitCode::internal, message);
}

void* Scratch::bytes(std::size_t count) {
  return separately() ? separate_blocks().take(count, used_) : working_memory().take(count, used_);
}

std::size_t workspace_bytes() {
  return std::min(kWorkspaceBytes, round_up(total_bytes() / kDeviceShare, kAlignment));
}

void set_workspace(void* memory, std::size_t bytes) {
  separate_blocks().set(memory == nullptr ? 0 : bytes);
  working_memory().set(memory, bytes);
}

}  // namespace headroom::cuda
