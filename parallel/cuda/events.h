// Streams and events as owners; events from a pool, since a step needs hundreds.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <mutex>
#include <vector>

namespace headroom::cuda {

// A stream beside the operations', of the highest priority.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Events that are not in use. Any thread may take and give back.
class EventPool {
 public:
  // `flags` of cudaEventCreateWithFlags.
  explicit EventPool(unsigned flags) : flags_(flags) {}
  ~EventPool();
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;

  cudaEvent_t take();
  void give_back(cudaEvent_t event);

 private:
  unsigned flags_;
  std::mutex mutex_;
  std::vector<cudaEvent_t> free_;
};

// An event out of a pool, into which it goes back.
class LentEvent {
 public:
  explicit LentEvent(std::shared_ptr<EventPool> pool);
  ~LentEvent();
  LentEvent(LentEvent&& other) noexcept;
  LentEvent(const LentEvent&) = delete;
  LentEvent& operator=(const LentEvent&) = delete;

  // What is in the stream now comes before the event.
  void record(cudaStream_t stream) const;
  // What comes into the stream from now on waits for the event's last record.
  void hold(cudaStream_t stream) const;
  // Without waiting; true also when the device has failed, of which the next call on it tells.
  bool finished() const;
  // Between two events that have finished, of a pool that keeps time.
  double seconds_since(const LentEvent& earlier) const;

 private:
  std::shared_ptr<EventPool> pool_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace headroom::cuda
