// How fast the ranks talk: one number that tells a broken network from a good one before the first step.
#include <algorithm>
#include <chrono>
#include <vector>

#include "parallel/runtime.h"
#include "tensor/backend.h"
#include "tensor/memory.h"

namespace headroom {

AllReduceTiming time_all_reduce(Communicator& group, std::int64_t bytes, Device device) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kRepeats = 5;
  const Buffer memory(static_cast<std::size_t>(bytes), device, "the start-up's all-reduce");
  const Tensor tensor = memory.tensor({bytes / static_cast<std::int64_t>(sizeof(float))}, DType::f32);
  group.all_reduce(tensor, Reduction::sum);  // connections and scratch memory are made in the first
  backend(device).synchronize();
  std::vector<double> seconds;
  for (std::size_t repeat = 0; repeat < kRepeats; ++repeat) {
    group.barrier();
    const auto begin = Clock::now();
    group.all_reduce(tensor, Reduction::sum);
    backend(device).synchronize();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  group.all_reduce(std::span<double>(seconds), Reduction::max);
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
  const double median = seconds[kRepeats / 2];
  const double moved = 2.0 * (group.size() - 1) / group.size() * static_cast<double>(bytes);
  return {median, median > 0.0 ? moved / median : 0.0};
}

}  // namespace headroom
