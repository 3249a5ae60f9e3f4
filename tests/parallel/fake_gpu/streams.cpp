#include "tests/parallel/fake_gpu/streams.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

// An event's records, finished one after another. Outlives its handle: streams may still wait for it.
struct Records {
  std::mutex mutex;
  std::condition_variable changed;
  std::int64_t recorded = 0;
  std::int64_t finished = 0;
  Clock::time_point time;
};

}  // namespace

struct FakeEvent {
  std::shared_ptr<Records> records = std::make_shared<Records>();
};

// Every piece of work starts a little late, by chance: who relies on an order that nothing enforces is found out.
struct FakeStream {
  FakeStream() : thread([this] { run(); }) {}
  ~FakeStream() {
    add(nullptr);
    thread.join();
  }

  // Null work ends the stream.
  void add(std::function<void()> work) {
    const std::lock_guard lock(mutex);
    queue.push_back(std::move(work));
    changed.notify_one();
  }

  void run() {
    std::minstd_rand random(std::random_device{}());
    for (;;) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return !queue.empty(); });
      const std::function<void()> work = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      if (work == nullptr) return;
      if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
      work();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  std::thread thread;  // last: it uses the others
};

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* lowest, int* highest) {
  *lowest = *highest = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = new FakeStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new FakeEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::shared_ptr<Records> records = event->records;
  std::int64_t number = 0;
  {
    const std::lock_guard lock(records->mutex);
    number = ++records->recorded;
  }
  stream->add([records, number] {
    const std::lock_guard lock(records->mutex);
    records->finished = number;
    records->time = Clock::now();
    records->changed.notify_all();
  });
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::shared_ptr<Records> records = event->records;
  std::int64_t number = 0;
  {
    const std::lock_guard lock(records->mutex);
    number = records->recorded;
  }
  stream->add([records, number] {
    std::unique_lock lock(records->mutex);
    records->changed.wait(lock, [&] { return records->finished >= number; });
  });
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(event->records->mutex);
  return event->records->finished == event->records->recorded ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  const std::scoped_lock lock(from->records->mutex, to->records->mutex);
  *milliseconds = std::chrono::duration<float, std::milli>(to->records->time - from->records->time).count();
  return cudaSuccess;
}

namespace headroom::fake {

void enqueue(cudaStream_t stream, std::function<void()> work) {
  stream->add(std::move(work));
}

void synchronize(cudaStream_t stream) {
  std::promise<void> reached;
  stream->add([&] { reached.set_value(); });
  reached.get_future().wait();
}

}  // namespace headroom::fake
