#include "tests/emulation/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "emulation/api.h"
#include "emulation/threads.h"
#include "tests/emulation/fault.h"
#include "tests/emulation/fault_handler.h"
#include "tests/emulation/fiber.h"
#include "tests/emulation/streams.h"
#include "tests/emulation/symbols.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace headroom::cuda {
// What dynamic_shared() of tensor/cuda/device_code.h refers to: the most that a block may have.
inline constexpr std::size_t kDynamicSharedBytes = 227 << 10;
alignas(1024) thread_local unsigned char dynamic_shared_memory[kDynamicSharedBytes];

// Whoever declares an `extern thread_local` cannot know that it needs no initialisation, and calls this, the name that
// the platform's ABI gives to it.
void no_initialisation() __asm__("_ZTHN8headroom4cuda21dynamic_shared_memoryE");
void no_initialisation() {}
}  // namespace headroom::cuda

namespace headroom::emulation {
namespace {

constexpr int kWarp = 32;
constexpr unsigned char kPoison = 0xff;         // a NaN in every format
constexpr std::size_t kWatchedBytes = 4 << 10;  // behind the dynamic shared memory that was asked for

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

std::string text(const uint3& at) {
  return fmt::format("({}, {}, {})", at.x, at.y, at.z);
}

uint3 coordinates(unsigned number, const dim3& extent) {
  return {number % extent.x, number / extent.x % extent.y, number / extent.x / extent.y};
}

std::string text(const Place& place) {
  const char* slash = std::strrchr(place.file, '/');
  return fmt::format("{}:{}", slash == nullptr ? place.file : slash + 1, place.line);
}

const char* name_of(WarpOp operation) {
  switch (operation) {
    case WarpOp::sync:
      return "__syncwarp";
    case WarpOp::shuffle:
      return "a shuffle";
    case WarpOp::ballot:
      return "a vote";
    case WarpOp::match:
      return "__match_any_sync";
    default:
      return "a warp reduction";
  }
}

Order order_of_environment() {
  const char* named = std::getenv("HEADROOM_EMULATION_ORDER");
  const std::string name = named == nullptr ? "forward" : named;
  if (name == "forward") return {};
  if (name == "reverse") return {Order::Kind::reverse};
  if (name == "shuffled") return {Order::Kind::shuffled};
  if (name.starts_with("shuffled:")) return {Order::Kind::shuffled, std::strtoull(name.c_str() + 9, nullptr, 10)};
  throw Fault("HEADROOM_EMULATION_ORDER is \"" + name + "\": forward, reverse, shuffled and shuffled:SEED exist");
}

class Scheduler {
 public:
  void run(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& body);

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

Scheduler& scheduler() {
  static auto& made = *new Scheduler;  // never destroyed, so that no fiber is unwound
  return made;
}

std::vector<unsigned> Scheduler::permutation(unsigned count) {
  std::vector<unsigned> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0U);
  if (order_.kind == Order::Kind::reverse) std::reverse(numbers.begin(), numbers.end());
  if (order_.kind == Order::Kind::shuffled) std::shuffle(numbers.begin(), numbers.end(), random_);
  return numbers;
}

// Warp by warp, each warp's lanes in an order of their own.
void Scheduler::draw_turns(unsigned threads) {
  turns_.clear();
  turns_of_warp_.assign((threads + kWarp - 1) / kWarp, 0);
  for (const unsigned warp : permutation((threads + kWarp - 1) / kWarp)) {
    turns_of_warp_[warp] = static_cast<std::ptrdiff_t>(turns_.size());
    for (const unsigned lane : permutation(std::min<unsigned>(kWarp, threads - warp * kWarp))) {
      turns_.push_back(warp * kWarp + lane);
    }
  }
}

void Scheduler::run(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& body) {
  report_faults();
  config_ = &config;
  kernel_ = kernel;
  body_ = &body;
  blockDim = config.blockDim;
  gridDim = config.gridDim;
  random_.seed(order_.seed);
  // Touching it makes sure that this thread has its own before it is looked for.
  headroom::cuda::dynamic_shared_memory[0] = kPoison;
  shared_ = shared_variables(kernel);
  for (const unsigned block : permutation(gridDim.x * gridDim.y * gridDim.z)) {
    blockIdx = coordinates(block, gridDim);
    run_block();
  }
}

void Scheduler::prepare_shared_memory() {
  const std::size_t end = std::min(config_->dynamicSmemBytes + kWatchedBytes, headroom::cuda::kDynamicSharedBytes);
  std::memset(headroom::cuda::dynamic_shared_memory, kPoison, end);
  for (const std::span<std::byte> variable : shared_) std::memset(variable.data(), kPoison, variable.size());
}

void Scheduler::check_shared_memory() const {
  const std::size_t end = std::min(config_->dynamicSmemBytes + kWatchedBytes, headroom::cuda::kDynamicSharedBytes);
  for (std::size_t at = config_->dynamicSmemBytes; at < end; ++at) {
    if (headroom::cuda::dynamic_shared_memory[at] == kPoison) continue;
    throw Fault(fmt::format("kernel {}, block {}: somebody wrote byte {} of {} bytes of dynamic shared memory",
                            function_name(kernel_), text(blockIdx), at, config_->dynamicSmemBytes));
  }
}

void Scheduler::run_block() {
  const unsigned count = blockDim.x * blockDim.y * blockDim.z;
  threads_.assign(count, Thread{});
  draw_turns(count);
  fresh_.assign(turns_.rbegin(), turns_.rend());
  ready_.clear();
  done_ = 0;
  at_barrier_ = 0;
  failure_ = nullptr;
  prepare_shared_memory();
  while (done_ < count) {
    if (fresh_.empty() && ready_.empty()) report_standstill();
    const unsigned thread = take_next();
    Thread& next = threads_[thread];
    if (next.worker == nullptr) next.worker = idle_worker();
    Worker* const worker = next.worker;
    enter(thread);
    inside_ = true;
    worker->fiber->resume();
    inside_ = false;
    // A fiber whose thread has failed is never resumed again, nor are those of threads that wait.
    if (failure_) std::rethrow_exception(failure_);
  }
  check_shared_memory();
}

// Threads that can go on go first.
unsigned Scheduler::take_next() {
  if (!ready_.empty()) {
    const unsigned thread = ready_.front();
    ready_.pop_front();
    return thread;
  }
  const unsigned thread = fresh_.back();
  fresh_.pop_back();
  return thread;
}

Worker* Scheduler::idle_worker() {
  if (idle_.empty()) {
    workers_.push_back(std::make_unique<Worker>());
    Worker* const made = workers_.back().get();
    made->fiber = std::make_unique<Fiber>([this, made] { work(*made); });
    return made;
  }
  Worker* const worker = idle_.back();
  idle_.pop_back();
  return worker;
}

void Scheduler::enter(unsigned thread) {
  current_ = thread;
  threads_[thread].state = State::running;
  threadIdx = coordinates(thread, blockDim);
}

// On a fiber: the thread it was resumed for, then as many as begin and end on the way.
void Scheduler::work(Worker& worker) {
  for (;;) {
    run_thread(worker, current_);
    while (!failure_ && ready_.empty() && !fresh_.empty()) {
      const unsigned thread = take_next();
      threads_[thread].worker = &worker;
      enter(thread);
      run_thread(worker, thread);
    }
    if (!failure_) idle_.push_back(&worker);
    worker.fiber->suspend();
  }
}

void Scheduler::run_thread(Worker& worker, unsigned thread) {
  try {
    (*body_)();
  } catch (...) {
    failure_ = std::current_exception();
  }
  if (failure_) worker.fiber->suspend();
  threads_[thread].state = State::done;
  threads_[thread].worker = nullptr;
  ++done_;
}

void Scheduler::wait(State state) {
  const unsigned thread = current_;
  threads_[thread].state = state;
  threads_[thread].worker->fiber->suspend();
}

int Scheduler::barrier(Barrier kind, int predicate, Place place) {
  if (!inside_) throw Fault("__syncthreads outside of a kernel");
  Thread& own = threads_[current_];
  own.place = place;
  own.predicate = predicate;
  if (at_barrier_ == 0) {
    barrier_ = kind;
    first_at_barrier_ = current_;
  }
  const Place& met = threads_[first_at_barrier_].place;
  if (met.line != place.line || std::strcmp(met.file, place.file) != 0) {
    fail(fmt::format("comes to the barrier of {} while thread {} waits at that of {}", text(place),
                     text(coordinates(first_at_barrier_, blockDim)), text(met)));
  }
  if (++at_barrier_ == threads_.size()) {
    own.state = State::at_barrier;
    release_barrier();
  }
  wait(threads_[current_].state == State::ready ? State::ready : State::at_barrier);
  return own.predicate;
}

void Scheduler::release_barrier() {
  int count = 0;
  for (const Thread& thread : threads_) count += thread.predicate != 0 ? 1 : 0;
  int result = count;
  if (barrier_ == Barrier::any) result = count > 0 ? 1 : 0;
  if (barrier_ == Barrier::all) result = count == static_cast<int>(threads_.size()) ? 1 : 0;
  at_barrier_ = 0;
  for (const unsigned thread : turns_) {
    threads_[thread].predicate = result;
    threads_[thread].state = State::ready;
    ready_.push_back(thread);
  }
}

std::uint64_t Scheduler::warp_operation(WarpOp operation, unsigned mask, std::uint64_t value, int source, Place place) {
  if (!inside_) throw Fault("a warp operation outside of a kernel");
  const unsigned first = current_ / kWarp * kWarp;
  const unsigned lanes = std::min<unsigned>(kWarp, static_cast<unsigned>(threads_.size()) - first);
  Thread* const warp = threads_.data() + first;
  Thread& own = threads_[current_];
  const unsigned own_bit = 1U << (current_ - first);
  if ((mask & own_bit) == 0)
    fail(fmt::format("{}: calls {} with a mask {:#x} without its own lane", text(place), name_of(operation), mask));
  if (lanes < kWarp && (mask >> lanes) != 0) {
    fail(fmt::format("{}: calls {} with mask {:#x}, but its warp has {} lanes", text(place), name_of(operation), mask,
                     lanes));
  }
  own.place = place;
  own.operation = operation;
  own.mask = mask;
  own.value = value;
  own.source = source;
  unsigned arrived = own_bit;
  for (unsigned other = 0; other < lanes; ++other) {
    const Thread& waiting = warp[other];
    if (waiting.state != State::at_warp_operation || ((mask | waiting.mask) & (1U << other)) == 0) continue;
    const bool concerned = (mask & (1U << other)) != 0 || (waiting.mask & own_bit) != 0;
    if (!concerned) continue;
    if (waiting.operation != operation || waiting.mask != mask) {
      fail(fmt::format("calls {} with mask {:#x} ({}) while lane {} waits at {} with mask {:#x} ({})",
                       name_of(operation), mask, text(place), other, name_of(waiting.operation), waiting.mask,
                       text(waiting.place)));
    }
    arrived |= 1U << other;
  }
  if (arrived != mask) {
    wait(State::at_warp_operation);
  } else {
    complete(warp, mask);
    let_go_on(first, mask);
    wait(State::ready);
  }
  return own.value;
}

// The lanes' turns come next, so that a warp runs far ahead of others where no barrier holds it back. When shuffled,
// now and then another warp overtakes it.
void Scheduler::let_go_on(unsigned first, unsigned mask) {
  std::vector<unsigned> lanes;
  const auto turns_of_warp = turns_.begin() + turns_of_warp_[first / kWarp];
  std::copy_if(turns_of_warp, turns_of_warp + std::min<std::ptrdiff_t>(kWarp, turns_.end() - turns_of_warp),
               std::back_inserter(lanes), [&](unsigned thread) {
                 return thread / kWarp == first / kWarp && (mask & (1U << (thread - first))) != 0;
               });
  for (const unsigned thread : lanes) threads_[thread].state = State::ready;
  const bool overtaken = order_.kind == Order::Kind::shuffled && random_() % 4 == 0;
  ready_.insert(overtaken ? ready_.end() : ready_.begin(), lanes.begin(), lanes.end());
}

void Scheduler::complete(Thread* warp, unsigned mask) {
  std::uint64_t brought[kWarp] = {};
  std::uint64_t together = 0;
  const WarpOp operation = warp[std::countr_zero(mask)].operation;
  bool first = true;
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask & (1U << lane)) == 0) continue;
    const std::uint64_t value = warp[lane].value;
    brought[lane] = value;
    if (operation == WarpOp::ballot) {
      together |= value << lane;
    } else if (first) {
      together = value;
    } else if (operation == WarpOp::sum) {
      together += value;
    } else if (operation == WarpOp::least) {
      together = std::min(together, value);
    } else if (operation == WarpOp::most) {
      together = std::max(together, value);
    } else if (operation == WarpOp::bit_and) {
      together &= value;
    } else if (operation == WarpOp::bit_or) {
      together |= value;
    } else if (operation == WarpOp::bit_xor) {
      together ^= value;
    }
    first = false;
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask & (1U << lane)) == 0) continue;
    Thread& thread = warp[lane];
    if (operation == WarpOp::shuffle) {
      thread.value = (mask & (1U << thread.source)) != 0 ? brought[thread.source] : ~std::uint64_t{0};
    } else if (operation == WarpOp::match) {
      std::uint64_t same = 0;
      for (int other = 0; other < kWarp; ++other) {
        if ((mask & (1U << other)) != 0 && brought[other] == brought[lane]) same |= std::uint64_t{1} << other;
      }
      thread.value = same;
    } else {
      thread.value = together;
    }
  }
}

std::string Scheduler::position_of(unsigned thread) const {
  return fmt::format("kernel {}, block {}, thread {}", function_name(kernel_), text(blockIdx),
                     text(coordinates(thread, blockDim)));
}
std::string Scheduler::position() const {
  return inside_ ? position_of(current_) : std::string();
}

void Scheduler::fail(const std::string& what) const {
  throw Fault(position() + ": " + what);
}

// Nobody can go on: somebody waits for threads that wait elsewhere or have left.
void Scheduler::report_standstill() const {
  const auto waits = [&](State state) {
    return std::find_if(threads_.begin(), threads_.end(), [&](const Thread& thread) { return thread.state == state; });
  };
  const auto number = [&](auto thread) { return static_cast<unsigned>(thread - threads_.begin()); };
  const auto at_operation = waits(State::at_warp_operation);
  if (at_operation != threads_.end()) {
    const unsigned first = number(at_operation) / kWarp * kWarp;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      const bool wanted = (at_operation->mask & (1U << lane)) != 0;
      if (!wanted || threads_[first + lane].state == State::at_warp_operation) continue;
      throw Fault(fmt::format("{}: waits at {} ({}, mask {:#x}) for lane {}, which {}",
                              position_of(number(at_operation)), name_of(at_operation->operation),
                              text(at_operation->place), at_operation->mask, lane,
                              threads_[first + lane].state == State::done
                                  ? "has left the kernel"
                                  : "waits at the barrier of " + text(threads_[first + lane].place)));
    }
    throw Fault(position_of(number(at_operation)) + ": lanes wait for each other at " + text(at_operation->place));
  }
  const auto at_barrier = waits(State::at_barrier);
  const auto left = waits(State::done);
  throw Fault(fmt::format("{}: waits at the barrier of {} while thread {} has left the kernel",
                          position_of(number(at_barrier)), text(at_barrier->place),
                          text(coordinates(number(left), blockDim))));
}

}  // namespace

void set_order(Order order) {
  scheduler().set_order(order);
}

std::string position() {
  return scheduler().position();
}

bool stack_overflows_at(const void* address) {
  return scheduler().stack_overflows_at(address);
}

int lane() {
  return scheduler().lane();
}

int source_lane(Shuffle kind, int argument, int width) {
  const int own = lane();
  const int section = own / width * width;
  int source = own;
  switch (kind) {
    case Shuffle::index:
      return section + (argument & (width - 1));
    case Shuffle::up:
      source = own - argument;
      return source < section ? own : source;
    case Shuffle::down:
      source = own + argument;
      return source >= section + width ? own : source;
    case Shuffle::exclusive_or:
      source = own ^ argument;
      return source >= section + width ? own : source;
  }
  return own;
}

int block_barrier(Barrier kind, int predicate, Place place) {
  return scheduler().barrier(kind, predicate, place);
}

std::uint64_t warp_operation(WarpOp operation, unsigned mask, std::uint64_t value, int source, Place place) {
  return scheduler().warp_operation(operation, mask, value, source, place);
}

cudaError_t run_kernel(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body) {
  if (const cudaError_t error = check_launch(config, kernel); error != cudaSuccess) return error;
  submit(config.stream, [config, kernel, body = std::move(body)] { scheduler().run(config, kernel, body); });
  return cudaSuccess;
}

}  // namespace headroom::emulation
