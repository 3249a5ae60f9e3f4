// One rank fails with an exception that nobody catches while the others wait for it. The suite starts this under mpirun
// and expects that all end at once, with the exception's exit code and message.
#include "base/error.h"
#include "parallel/runtime.h"

int main(int argc, char** argv) {
  headroom::ParallelRuntime runtime(&argc, &argv);
  const auto world = runtime.world();
  if (world->rank() == 1) {
    throw headroom::Error(headroom::ExitCode::disk_full, "no space left for the test", "make some");
  }
  world->barrier();
  return 0;
}
