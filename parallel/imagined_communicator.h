// A group that exists on paper only: which rank one would be, of how many. For dry runs that measure what a rank of a
// layout needs, on a machine that has no such ranks.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace headroom {

// Knows its rank and size. Every call that would need the others throws ExitCode::internal; nothing was sent, nobody
// waited.
std::unique_ptr<Communicator> make_imagined_communicator(int rank, int size);

}  // namespace headroom
