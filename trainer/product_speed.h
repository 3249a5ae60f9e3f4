// How fast matrix products are here: for the preflight of nodes, and for predictions of runs on CPUs.
#pragma once

#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace headroom {

// FLOP/s of this process's products of a size that needs no more than a second (f32 on the CPU, with as many threads as
// OpenMP has; bf16 on a GPU, which must be selected): the best of several rounds, so that what other processes do now
// and then does not count, and a device that is always slow does.
double product_speed(Device device);

}  // namespace headroom
