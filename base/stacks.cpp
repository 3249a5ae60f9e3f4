#include "base/stacks.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "base/error.h"

namespace headroom {
namespace {

constexpr std::size_t kMostFrames = 64;
constexpr std::size_t kHandlerFrames = 2;   // the handler's own and the kernel's way into it
constexpr std::size_t kLongestName = 160;   // of a function; templates' names have no end
constexpr double kSecondsForHandler = 5.0;  // to end, once it has begun

// What passes between the thread that asks and the one that is interrupted. `wanted` is the thread whose turn it is;
// its handler takes the turn by setting it to 0. So a thread that comes too late writes nothing.
struct Capture {
  std::atomic<pid_t> wanted = 0;
  std::array<void*, kMostFrames> frames = {};
  std::atomic<int> count = 0;
  sem_t done = {};
  bool stuck = false;  // a handler began and never ended: the frames are its for good
};
static_assert(std::atomic<pid_t>::is_always_lock_free, "for signal handlers");
Capture capture;

// Runs in the interrupted thread: backtrace() allocates nothing once its library is loaded, sem_post is made for this.
void capture_own_stack(int /*signal*/) {
  const int error_number = errno;
  pid_t own = static_cast<pid_t>(::syscall(SYS_gettid));
  if (capture.wanted.compare_exchange_strong(own, 0)) {
    capture.count = ::backtrace(capture.frames.data(), static_cast<int>(kMostFrames));
    ::sem_post(&capture.done);
  }
  errno = error_number;
}

// The thread that prepares is the one that computes, and a matrix product of oneDNN points the stack pointer into the
// heap.
void give_a_stack_for_signals() {
  static std::array<char, std::size_t{64} << 10> stack;
  const stack_t alternate{stack.data(), 0, stack.size()};
  HEADROOM_CHECK(::sigaltstack(&alternate, nullptr) == 0, "no stack for signals");
}

// Takes the last real-time signal whose disposition is the default: others are somebody's.
int install_handler() {
  std::array<void*, 1> any = {};
  ::backtrace(any.data(), 1);
  HEADROOM_CHECK(::sem_init(&capture.done, 0, 0) == 0, "no semaphore");
  give_a_stack_for_signals();
  for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal) {
    struct sigaction found = {};
    if (::sigaction(signal, nullptr, &found) != 0 || found.sa_handler != SIG_DFL) continue;
    struct sigaction ours = {};
    ours.sa_handler = capture_own_stack;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;
    ::sigfillset(&ours.sa_mask);
    if (::sigaction(signal, &ours, nullptr) == 0) return signal;
  }
  throw Error(ExitCode::internal, "no real-time signal is free");
}

int capture_signal() {
  static const int signal = install_handler();
  return signal;
}

// False when nothing came within `seconds`.
bool wait_for_capture(double seconds) {
  timespec until = {};
  ::clock_gettime(CLOCK_REALTIME, &until);
  const double whole = std::floor(seconds);
  until.tv_sec += static_cast<time_t>(whole);
  until.tv_nsec += static_cast<long>((seconds - whole) * 1e9);
  if (until.tv_nsec >= 1'000'000'000) {
    until.tv_nsec -= 1'000'000'000;
    ++until.tv_sec;
  }
  while (::sem_timedwait(&capture.done, &until) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

enum class Answer : std::uint8_t { captured, none, half };

Answer ask(pid_t thread, double seconds) {
  capture.wanted = thread;
  if (::syscall(SYS_tgkill, ::getpid(), thread, capture_signal()) != 0) {
    capture.wanted = 0;
    return Answer::none;
  }
  if (wait_for_capture(seconds)) return Answer::captured;
  if (capture.wanted.exchange(0) == thread) return Answer::none;
  return wait_for_capture(kSecondsForHandler) ? Answer::captured : Answer::half;
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> words(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  std::string text = status == 0 ? words.get() : name;
  if (text.size() > kLongestName) text = text.substr(0, kLongestName) + "...";
  return text;
}

std::string frame_text(std::size_t number, void* frame, bool return_address) {
  // A call may be its function's last instruction; the address after it is another function's.
  auto* const address = static_cast<char*>(frame) - (return_address ? 1 : 0);
  Dl_info info = {};
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return fmt::format("  #{} {}\n", number, frame);
  const std::string name = info.dli_sname == nullptr ? "" : demangled(info.dli_sname) + " in ";
  return fmt::format("  #{} {}{}+{:#x}\n", number, name, std::filesystem::path(info.dli_fname).filename().string(),
                     address - static_cast<char*>(info.dli_fbase));
}

std::string captured_stack() {
  std::string text;
  const auto count = static_cast<std::size_t>(std::max(0, capture.count.load()));
  for (std::size_t i = kHandlerFrames; i < count; ++i) {
    text += frame_text(i - kHandlerFrames, capture.frames[i], i > kHandlerFrames);
  }
  return text;
}

// "thread 17 (headroom, state S)": S sleeps, R runs, D waits for a device or a file system.
std::string heading(pid_t thread) {
  const std::filesystem::path task = fmt::format("/proc/self/task/{}", thread);
  std::string name;
  std::getline(std::ifstream(task / "comm"), name);
  std::string state = "?";
  std::ifstream status(task / "status");
  for (std::string word; status >> word;) {
    if (word == "State:" && status >> state) break;
  }
  return fmt::format("thread {} ({}, state {})", thread, name, state);
}

std::vector<pid_t> other_threads() {
  std::vector<pid_t> threads;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    const auto thread = static_cast<pid_t>(std::stol(entry.path().filename().string()));
    if (thread != ::gettid()) threads.push_back(thread);
  }
  std::sort(threads.begin(), threads.end());
  return threads;
}

}  // namespace

void prepare_stacks() {
  capture_signal();
}

std::string stacks_of_other_threads(double seconds) {
  prepare_stacks();
  if (capture.stuck) return "no stacks: unwinding one did not end before\n";
  std::string text;
  for (const pid_t thread : other_threads()) {
    text += heading(thread);
    switch (ask(thread, seconds)) {
      case Answer::captured:
        text += "\n" + captured_stack();
        break;
      case Answer::none:
        text += ": no stack, it does not answer\n";
        break;
      case Answer::half:
        capture.stuck = true;
        return text + ": unwinding does not end; no more stacks\n";
    }
  }
  return text;
}

}  // namespace headroom
