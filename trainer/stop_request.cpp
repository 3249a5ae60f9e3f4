#include "trainer/stop_request.h"

#include <omp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace headroom {
namespace {

std::atomic<int> received = 0;  // the first signal's number
std::atomic<bool> interrupted = false;
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free, "for a handler");

extern "C" void note_signal(int number) {
  if (number == SIGINT && interrupted.exchange(true)) _exit(128 + number);
  int none = 0;
  received.compare_exchange_strong(none, number);
}

std::vector<int> handled(StopSignal user_signal) {
  std::vector<int> numbers = {SIGTERM, SIGINT};
  if (user_signal == StopSignal::usr1) numbers.push_back(SIGUSR1);
  if (user_signal == StopSignal::usr2) numbers.push_back(SIGUSR2);
  return numbers;
}

sigset_t set_of(StopSignal user_signal) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : handled(user_signal)) ::sigaddset(&set, number);
  return set;
}

void set_handlers(StopSignal user_signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;  // nobody's system call fails for it
  sigemptyset(&action.sa_mask);
  for (const int number : handled(user_signal)) sigaction(number, &action, nullptr);
}

// In the threads that compute: this one and OpenMP's. Those that OpenMP starts later take over this one's.
void mask_computing_threads(int how, const sigset_t& signals) {
#pragma omp parallel
  ::pthread_sigmask(how, &signals, nullptr);
}

}  // namespace

StopRequests::StopRequests(StopSignal user_signal) : user_signal_(user_signal) {
  received = 0;
  interrupted = false;
  const sigset_t signals = set_of(user_signal);
  mask_computing_threads(SIG_BLOCK, signals);
  set_handlers(user_signal, note_signal);
  arrivals_ = Descriptor(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  ending_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  HEADROOM_CHECK(arrivals_ && ending_, "no descriptors for signals: {}", std::strerror(errno));
  listener_ = std::thread([this] { listen(); });  // with this thread's mask
}

StopRequests::~StopRequests() {
  const std::uint64_t one = 1;
  while (::write(ending_.get(), &one, sizeof one) < 0 && errno == EINTR) continue;
  listener_.join();
  // A process that was asked is about to end with a code of its own, which another signal should not change.
  set_handlers(user_signal_, stop_requested() ? SIG_IGN : SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  mask_computing_threads(SIG_UNBLOCK, set_of(user_signal_));
}

void StopRequests::listen() const {
  pollfd watched[] = {{arrivals_.get(), POLLIN, 0}, {ending_.get(), POLLIN, 0}};
  while (watched[1].revents == 0) {
    if (::poll(watched, 2, -1) < 0) continue;
    signalfd_siginfo arrival{};
    while (::read(arrivals_.get(), &arrival, sizeof arrival) == sizeof arrival) {
      note_signal(static_cast<int>(arrival.ssi_signo));
    }
  }
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
  const int number = received;
  if (number == 0) return "another rank's signal";
  const char* const name = sigabbrev_np(number);
  return name == nullptr ? fmt::format("signal {}", number) : fmt::format("SIG{}", name);
}

}  // namespace headroom
