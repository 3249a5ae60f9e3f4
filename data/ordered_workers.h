// Work done by several threads, handed back in the order it was given: how documents are encoded in parallel and still
// written in their order, with a bounded number of them in memory.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace headroom {

// `give` and `take` are for one thread, the owner's; `work` runs on the others. Destroying the object drops what was
// not begun and waits for the rest.
template <typename Input, typename Output>
class OrderedWorkers {
 public:
  OrderedWorkers(int threads, std::function<Output(Input&)> work) : work_(std::move(work)) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }

  ~OrderedWorkers() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    given_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  OrderedWorkers(const OrderedWorkers&) = delete;
  OrderedWorkers& operator=(const OrderedWorkers&) = delete;

  void give(Input input) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.emplace_back(std::move(input));
    }
    given_.notify_one();
  }

  // Waits for the oldest job given and not taken yet. Rethrows what its work threw. Not to be called when idle.
  Output take() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return jobs_.front().finished; });
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    --begun_;
    lock.unlock();
    if (job.error) std::rethrow_exception(job.error);
    return std::move(*job.output);
  }

  // Jobs given and not taken yet.
  std::size_t pending() const {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }

 private:
  struct Job {
    explicit Job(Input given) : input(std::move(given)) {}
    Input input;
    std::optional<Output> output;
    std::exception_ptr error;
    bool finished = false;
  };

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      given_.wait(lock, [this] { return stop_ || begun_ < jobs_.size(); });
      if (stop_) return;
      Job& job = jobs_[begun_++];  // a deque's elements stay where they are while its ends change
      lock.unlock();
      std::optional<Output> output;
      std::exception_ptr error;
      try {
        output = work_(job.input);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      job.output = std::move(output);
      job.error = error;
      job.finished = true;
      done_.notify_one();
    }
  }

  std::function<Output(Input&)> work_;
  mutable std::mutex mutex_;
  std::condition_variable given_, done_;
  std::deque<Job> jobs_;   // oldest first
  std::size_t begun_ = 0;  // of jobs_, how many a thread has begun (they are the first)
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace headroom
