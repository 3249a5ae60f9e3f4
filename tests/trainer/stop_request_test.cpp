// Signals while the threads compute.
#include "trainer/stop_request.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "tensor/ops.h"

namespace headroom {
namespace {

// Products whose kernels point the stack pointer into the heap, where a handler's frame would overwrite something.
TEST(StopRequests, DoNotDisturbWhatIsComputed) {
  constexpr std::int64_t kSize = 192;
  std::vector<float> a(kSize * kSize, 0.5F), b(kSize * kSize, 2.0F), c(kSize * kSize);
  const Tensor left = Tensor::over(std::span(a), {kSize, kSize});
  const Tensor right = Tensor::over(std::span(b), {kSize, kSize});
  const Tensor product = Tensor::over(std::span(c), {kSize, kSize});
  std::vector<std::vector<int>> neighbours;
  const StopRequests requests(StopSignal::usr1);
  std::atomic<bool> over = false;
  std::thread sender([&] {
    while (!over) ::kill(::getpid(), SIGUSR1);
  });
  std::int64_t wrong = 0;
  for (int round = 0; round < 2000; ++round) {
    // What lies on the heap around the products' workspace, written and looked at again.
    neighbours.emplace_back(512 + round % 64, round);
    ops::matmul(left, Transpose::no, right, Transpose::no, product, 1.0, 0.0);
    for (const float value : c) wrong += value != static_cast<float>(kSize) ? 1 : 0;
  }
  over = true;
  sender.join();
  for (std::size_t round = 0; round < neighbours.size(); ++round) {
    for (const int value : neighbours[round]) wrong += value != static_cast<int>(round) ? 1 : 0;
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(stop_requested());
  EXPECT_EQ(stop_signal_name(), "SIGUSR1");
}

TEST(StopRequests, BeginAnewWithEachObject) {
  {
    const StopRequests requests(StopSignal::none);
    ::kill(::getpid(), SIGTERM);
    while (!stop_requested()) std::this_thread::yield();
  }
  ::kill(::getpid(), SIGTERM);  // ends nobody who is about to end
  const StopRequests requests(StopSignal::none);
  EXPECT_FALSE(stop_requested());
}

}  // namespace
}  // namespace headroom
