// The last rank goes missing from a collective that the others wait in. The suite starts this under mpirun and expects
// that all ranks end, and that somebody says which one was missing. Takes how:
//   killed   it dies in the collective, as by the kernel's out-of-memory killer
//   absent   it never calls it
//   frozen   it is stopped before it calls it
//   reading  it reads a file that does not answer; only its own watchdog has a limit
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string_view>

#include "base/file.h"
#include "parallel/process_watch.h"
#include "parallel/runtime.h"

namespace headroom {

namespace {

std::unique_ptr<Pending> begin_collective(Communicator& group, std::array<float, 15>& numbers) {
  const Tensor whole(numbers.data(), {15}, DType::f32);
  return group.reduce_scatter_async(whole, whole.flat_range(group.rank() * 5, 5));
}

}  // namespace

// Exported, so that it has a name in the stacks.
[[gnu::noinline]] void wait_for_the_others(Communicator& group) {
  std::array<float, 15> numbers = {};
  begin_collective(group, numbers)->wait();
  group.barrier();  // one that died may have sent its part before
}

namespace {

void go_missing(Communicator& group, std::string_view how) {
  if (how == "killed") {
    std::array<float, 15> numbers = {};
    const auto pending = begin_collective(group, numbers);
    ::raise(SIGKILL);
  }
  if (how == "reading") {
    std::array<int, 2> pipe = {};
    if (::pipe(pipe.data()) == 0) read_file(fmt::format("/proc/self/fd/{}", pipe[0]));  // which nobody writes to
  }
  if (how == "frozen") ::raise(SIGSTOP);
  for (;;) ::pause();
}

}  // namespace
}  // namespace headroom

int main(int argc, char** argv) {
  using namespace headroom;
  ParallelRuntime runtime(&argc, &argv);
  const std::string_view how = argc == 2 ? argv[1] : "";
  const auto world = runtime.world();
  const auto group = world->split(0, -world->rank());  // whose ranks are not the world's
  const bool goes_missing = world->rank() == world->size() - 1;
  const bool unlimited = how == "killed" || (how == "reading" && !goes_missing);
  const ProcessWatch watch(
      {.limit_seconds = unlimited ? 0.0 : 1.0, .who = describe_process(world->rank(), world->size())});
  note_step(17);
  std::printf("pid %d\n", ::getpid());
  std::fflush(stdout);
  world->barrier();
  if (goes_missing) go_missing(*group, how);
  wait_for_the_others(*group);
}
