// Mean, spread and largest magnitude of every parameter as a logical tensor: shards put together, padding left out.
#pragma once

#include "analysis/snapshot_file.h"
#include "model/parameters.h"
#include "parallel/communicator.h"

namespace headroom {

// Collective over the ranks that hold one model together (mesh.tensor()); all of them get the result. std is divided by
// n - 1 (0 for a single number), as TVR measures it.
WeightStatistics weight_statistics(const ParameterStore& parameters, Communicator& tensor);

}  // namespace headroom
