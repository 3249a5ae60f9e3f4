#include "tests/emulation/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "tests/emulation/fault.h"
#include "tests/emulation/fault_handler.h"
#include "tests/emulation/scheduling.h"
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

constexpr unsigned char kPoison = 0xff;         // a NaN in every format
constexpr std::size_t kWatchedBytes = 4 << 10;  // behind the dynamic shared memory that was asked for

}  // namespace

Order order_of_environment() {
  const char* named = std::getenv("HEADROOM_EMULATION_ORDER");
  const std::string name = named == nullptr ? "forward" : named;
  if (name == "forward") return {};
  if (name == "reverse") return {Order::Kind::reverse};
  if (name == "shuffled") return {Order::Kind::shuffled};
  if (name.starts_with("shuffled:")) return {Order::Kind::shuffled, std::strtoull(name.c_str() + 9, nullptr, 10)};
  throw Fault("HEADROOM_EMULATION_ORDER is \"" + name + "\": forward, reverse, shuffled and shuffled:SEED exist");
}

Scheduler& scheduler() {
  static auto& made = *new Scheduler;  // never destroyed, so that no fiber is unwound
  return made;
}

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

std::string Scheduler::position_of(unsigned thread) const {
  return fmt::format("kernel {}, block {}, thread {}", function_name(kernel_), text(blockIdx),
                     text(coordinates(thread, blockDim)));
}
std::string Scheduler::position() const {
  return inside_ ? position_of(current_) : std::string();
}

void set_order(Order order) {
  scheduler().set_order(order);
}

std::string position() {
  return scheduler().position();
}

bool stack_overflows_at(const void* address) {
  return scheduler().stack_overflows_at(address);
}

cudaError_t run_kernel(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body) {
  if (const cudaError_t error = check_launch(config, kernel); error != cudaSuccess) return error;
  submit(config.stream, [config, kernel, body = std::move(body)] { scheduler().run(config, kernel, body); });
  return cudaSuccess;
}

}  // namespace headroom::emulation
