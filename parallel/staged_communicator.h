// Exchanges a GPU's tensors by way of host memory: they are downloaded, the host's communicator does the collective,
// the result is uploaded. Slower than the GPUs' own ways, but it needs nothing of them: several ranks may share a GPU,
// and it may be an emulated one.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace headroom {

// Tensors in host memory and control messages go to `host` as they are, and so do traffic and waiting time. A call
// waits for the device's work so far, because it downloads. Several asynchronous collectives may be under way, each
// with host memory of its own, which is kept for the next one.
std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> host);

}  // namespace headroom
