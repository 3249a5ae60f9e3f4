// Streams that work late, and that the backend's copies are right with them.
#include "tests/emulation/streams.h"
#include <algorithm>
#include <numeric>

#include "tensor/cuda/launch.h"
#include "tensor/cuda/memory.h"
#include "tests/emulation/launching.h"

namespace headroom::cuda {
namespace {

__global__ void set(int* to, int value) {
  *to = value;
}
__global__ void add(const int* x, int* y) {
  *y += *x;
}

class LateStreams : public testing::Test {
 protected:
  void SetUp() override {
    emulation::set_late_streams(true);
    cudaStreamCreate(&first_);
    cudaStreamCreate(&second_);
    cudaEventCreate(&event_);
  }
  void TearDown() override {
    emulation::set_late_streams(false);
    cudaStreamDestroy(first_);
    cudaStreamDestroy(second_);
    cudaEventDestroy(event_);
  }
  template <class... Parameters, class... Arguments>
  void run_on(cudaStream_t stream, void (*kernel)(Parameters...), Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.stream = stream;
    EXPECT_EQ(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), cudaSuccess);
  }

  cudaStream_t first_ = nullptr;
  cudaStream_t second_ = nullptr;
  cudaEvent_t event_ = nullptr;
  DeviceArray<int> x_{1};
  DeviceArray<int> y_{1};
};

TEST_F(LateStreams, work_when_somebody_waits) {
  run_on(first_, set, x_.data(), 5);
  run_on(second_, set, y_.data(), 6);
  EXPECT_EQ(x_[0], 0);
  cudaStreamSynchronize(first_);
  EXPECT_EQ(x_[0], 5);
  EXPECT_EQ(y_[0], 0);
  cudaDeviceSynchronize();
  EXPECT_EQ(y_[0], 6);
}

TEST_F(LateStreams, wait_for_each_others_events) {
  run_on(first_, set, x_.data(), 5);
  cudaEventRecord(event_, first_);
  run_on(first_, set, x_.data(), 100);  // after the event
  cudaStreamWaitEvent(second_, event_);
  run_on(second_, add, x_.data(), y_.data());
  cudaEventRecord(event_, second_);  // again, elsewhere: who waits for the first recording does not mind
  cudaEventSynchronize(event_);
  EXPECT_EQ(y_[0], 5);
  EXPECT_EQ(x_[0], 5);
  cudaStreamSynchronize(first_);
  EXPECT_EQ(x_[0], 100);
}

TEST_F(LateStreams, move_on_when_asked_whether_they_are_done) {
  run_on(first_, set, x_.data(), 5);
  cudaEventRecord(event_, first_);
  float milliseconds = 0;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, event_, event_), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(event_), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(first_), cudaErrorNotReady);
  EXPECT_EQ(x_[0], 0);
  while (cudaEventQuery(event_) == cudaErrorNotReady) {
  }
  EXPECT_EQ(x_[0], 5);
  EXPECT_EQ(cudaStreamQuery(first_), cudaSuccess);
}

TEST_F(LateStreams, read_pinned_memory_when_they_get_there) {
  int* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, sizeof(int)), cudaSuccess);
  int other = 1;
  *pinned = 1;
  cudaMemcpyAsync(x_.data(), pinned, sizeof(int), cudaMemcpyHostToDevice, first_);
  cudaMemcpyAsync(y_.data(), &other, sizeof(int), cudaMemcpyHostToDevice, first_);
  *pinned = other = 2;
  cudaStreamSynchronize(first_);
  EXPECT_EQ(x_[0], 2);
  EXPECT_EQ(y_[0], 1);
  cudaFreeHost(pinned);
}

__global__ void leave_a_lane() {
  if (threadIdx.x != 3) __syncwarp();
}
TEST_F(LateStreams, report_faults_to_whoever_waits) {
  cudaLaunchConfig_t config{};
  config.blockDim = 32;
  config.stream = first_;
  EXPECT_EQ(cudaLaunchKernelEx(&config, leave_a_lane), cudaSuccess);
  run_on(first_, set, x_.data(), 5);
  EXPECT_THROW(cudaStreamSynchronize(first_), emulation::Fault);
  cudaStreamSynchronize(first_);
  EXPECT_EQ(x_[0], 5);
}

TEST_F(LateStreams, serve_the_backends_copies) {
  const std::size_t count = (std::size_t{60} << 20) / sizeof(int) + 3;  // more than is under way at once
  auto* const memory = static_cast<int*>(allocate(count * sizeof(int)));
  std::vector<int> sent(count);
  std::iota(sent.begin(), sent.end(), 1);
  std::vector<int> expected = sent;
  ++expected.back();
  std::vector<int> received(count);
  upload(sent.data(), memory, count * sizeof(int));
  std::fill(sent.begin(), sent.end(), 2);
  launch("add", add, {}, memory, memory + count - 1);
  download(memory, received.data(), count * sizeof(int));
  EXPECT_TRUE(received == expected);
  for (int i = 0; i < 10; ++i) upload(&i, memory + i, sizeof(int));
  download(memory, received.data(), 10 * sizeof(int));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(received[static_cast<std::size_t>(i)], i);
  release(memory);
}

}  // namespace
}  // namespace headroom::cuda
