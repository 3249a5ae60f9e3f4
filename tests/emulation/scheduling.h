// The scheduler's insides (tests/emulation/scheduler.h): scheduler.cpp starts and resumes threads, meetings.cpp is
// where they wait for each other.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/emulation/fiber.h"
#include "tests/emulation/scheduler.h"

namespace headroom::emulation {

inline constexpr int kWarp = 32;

struct Worker;

enum class State : std::uint8_t { fresh, running, ready, at_barrier, at_warp_operation, done };

struct Thread {
  State state = State::fresh;
  Worker* worker = nullptr;
  Place place{};
  // Of the warp operation it waits at.
  WarpOp operation{};
  unsigned mask = 0;
  std::uint64_t value = 0;  // brought, then received
  int source = 0;
  int predicate = 0;  // of the barrier
};

struct Worker {
  std::unique_ptr<Fiber> fiber;
};

Order order_of_environment();

// For messages: "(1, 0, 0)", "kernel.cu:12".
std::string text(const uint3& at);
std::string text(const Place& place);
// Of a thread in its block, or a block in the grid, by its number.
uint3 coordinates(unsigned number, const dim3& extent);

class Scheduler {
 public:
  // All blocks of a launch, one after another.
  void run(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& body);

  // For the running thread.
  int barrier(Barrier kind, int predicate, Place place);
  std::uint64_t warp_operation(WarpOp operation, unsigned mask, std::uint64_t value, int source, Place place);
  std::string position() const;
  std::string position_of(unsigned thread) const;
  int lane() const { return static_cast<int>(current_) % kWarp; }
  bool stack_overflows_at(const void* address) const {
    return inside_ && threads_[current_].worker != nullptr && threads_[current_].worker->fiber->overflows_at(address);
  }
  void set_order(Order order) { order_ = order; }

 private:
  void run_block();
  void work(Worker& worker);
  void run_thread(Worker& worker, unsigned thread);
  Worker* idle_worker();
  void enter(unsigned thread);
  void wait(State state);
  void complete(Thread* warp, unsigned mask);
  void let_go_on(unsigned first, unsigned mask);
  void release_barrier();
  [[noreturn]] void report_standstill() const;
  [[noreturn]] void fail(const std::string& what) const;
  std::vector<unsigned> permutation(unsigned count);
  void draw_turns(unsigned threads);
  unsigned take_next();
  void prepare_shared_memory();
  void check_shared_memory() const;

  Order order_ = order_of_environment();
  std::mt19937_64 random_;

  const cudaLaunchConfig_t* config_ = nullptr;
  const void* kernel_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  std::vector<std::span<std::byte>> shared_;
  bool inside_ = false;

  std::vector<Thread> threads_;
  std::vector<unsigned> fresh_;  // the next at the end
  std::deque<unsigned> ready_;
  std::vector<unsigned> turns_;                // the block's threads in the order of their turns
  std::vector<std::ptrdiff_t> turns_of_warp_;  // where in it each warp begins
  unsigned current_ = 0;
  unsigned done_ = 0;
  unsigned at_barrier_ = 0;
  unsigned first_at_barrier_ = 0;
  Barrier barrier_{};
  std::exception_ptr failure_;

  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
};

Scheduler& scheduler();

}  // namespace headroom::emulation
