#include "trainer/stop_request.h"

#include <unistd.h>

#include <csignal>
#include <cstring>
#include <vector>

namespace headroom {
namespace {

volatile std::sig_atomic_t received = 0;  // the first signal's number
volatile std::sig_atomic_t interrupted = 0;
StopSignal user_signal_handled = StopSignal::none;

extern "C" void note_signal(int number) {
  if (interrupted != 0 && number == SIGINT) _exit(128 + number);
  if (number == SIGINT) interrupted = 1;
  if (received == 0) received = number;
}

std::vector<int> handled(StopSignal user_signal) {
  std::vector<int> numbers = {SIGTERM, SIGINT};
  if (user_signal == StopSignal::usr1) numbers.push_back(SIGUSR1);
  if (user_signal == StopSignal::usr2) numbers.push_back(SIGUSR2);
  return numbers;
}

void set_handlers(StopSignal user_signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;  // nobody's system call fails for it
  sigemptyset(&action.sa_mask);
  for (const int number : handled(user_signal)) sigaction(number, &action, nullptr);
}

}  // namespace

StopRequests::StopRequests(StopSignal user_signal) {
  received = 0;
  interrupted = 0;
  user_signal_handled = user_signal;
  set_handlers(user_signal, note_signal);
}

StopRequests::~StopRequests() {
  set_handlers(user_signal_handled, SIG_DFL);
}

bool stop_requested() {
  return received != 0;
}

bool stop_agreed(Communicator& group) {
  std::int64_t asked = stop_requested() ? 1 : 0;
  group.all_reduce(std::span<std::int64_t>(&asked, 1), Reduction::max);
  return asked != 0;
}

std::string stop_signal_name() {
  if (received == 0) return "another rank's signal";
  const char* const name = sigabbrev_np(received);
  return name == nullptr ? fmt::format("signal {}", static_cast<int>(received)) : fmt::format("SIG{}", name);
}

}  // namespace headroom
