#include "tests/emulation/fault_handler.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/emulation/device_memory.h"
#include "tests/emulation/scheduler.h"

namespace headroom::emulation {
namespace {

struct sigaction previous_segmentation;
struct sigaction previous_illegal;

// Not written for signals that interrupt anything: the kernel's own instruction raised it, on the same thread.
[[noreturn]] void end_with(const std::string& what, const std::string& where) {
  fmt::print(stderr, "emulated device: {}{}{}\n", what, where.empty() ? "" : ": ", where);
  std::fflush(stderr);
  signal(SIGABRT, SIG_DFL);
  std::abort();
}

void on_signal(int number, siginfo_t* info, void*) {
  const std::string where = position();
  if (number == SIGILL) {
    if (!where.empty()) end_with("an index outside of its array, or another operation without a meaning", where);
    sigaction(number, &previous_illegal, nullptr);
    return;
  }
  const std::string memory = describe_address(info->si_addr);
  if (!where.empty() && stack_overflows_at(info->si_addr)) end_with("a thread has used up its stack", where);
  if (!memory.empty()) {
    end_with("access to " + memory, where.empty() ? "by the host, outside of any kernel" : where);
  }
  if (!where.empty()) end_with(fmt::format("access to {}, which is no device memory", info->si_addr), where);
  sigaction(number, &previous_segmentation, nullptr);  // the access is tried again, and theirs
}

}  // namespace

void report_faults() {
  static bool done = false;
  if (done) return;
  done = true;
  // The stack that overflowed cannot hold the handler.
  static auto& stack = *new std::vector<std::byte>(std::size_t{256} << 10);
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, &previous_segmentation);
  sigaction(SIGBUS, &action, nullptr);
  sigaction(SIGILL, &action, &previous_illegal);
}

}  // namespace headroom::emulation
