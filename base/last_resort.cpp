#include "base/last_resort.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "base/error.h"

namespace headroom {
namespace {

std::atomic<int> status_at_the_end = static_cast<int>(ExitCode::internal);
static_assert(std::atomic<int>::is_always_lock_free, "for a signal handler");

void end_now(int /*signal*/) {
  ::_exit(status_at_the_end);
}

}  // namespace

void end_process_within(unsigned seconds, int status) {
  status_at_the_end = status;
  struct sigaction action = {};
  action.sa_handler = end_now;
  ::sigaction(SIGALRM, &action, nullptr);
  sigset_t alarm_only;  // one thread that takes the signal is enough: this one
  ::sigemptyset(&alarm_only);
  ::sigaddset(&alarm_only, SIGALRM);
  ::pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
  ::alarm(seconds);
}

}  // namespace headroom
