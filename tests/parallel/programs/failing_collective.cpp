// A collective between GPUs that hangs, because rank 1 never makes it, or that fails. The suite starts this under
// mpirun and expects that the watchdog ends all ranks, with its exit code and message. Takes "hang" or "fail".
#include <string_view>

#include "parallel/device_communicator.h"
#include "parallel/local_gpu.h"
#include "parallel/runtime.h"
#include "tensor/backend.h"
#include "tensor/memory.h"

int main(int argc, char** argv) {
  using namespace headroom;
  ParallelRuntime runtime(&argc, &argv);
  const auto host = runtime.world();
  select_local_gpu(*host);
  const auto group = for_device(runtime.world(), Device::cuda, Transport::nccl).communicator;
  const Buffer memory(64, Device::cuda, "a test");
  const Tensor tensor = memory.tensor({16}, DType::f32);
  group->all_reduce(tensor, Reduction::sum);
  const bool hangs = argc == 2 && std::string_view(argv[1]) == "hang";
  if (!hangs || host->rank() != 1) group->all_reduce(tensor, Reduction::max);
  backend(Device::cuda).synchronize();
  for (;;) host->barrier();
}
