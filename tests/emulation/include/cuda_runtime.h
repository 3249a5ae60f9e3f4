// Stands in for CUDA's header of this name where kernels run on the CPU: the dialect that tensor/cuda is written in, as
// plain C++. Threads of a block are fibers (tests/emulation/scheduler.h), device memory is host memory between guard
// pages (tests/emulation/device_memory.h), streams work at once or late (tests/emulation/streams.h).
//
// It has what tensor/cuda uses and little more. Left out on purpose: <<<>>>, cooperative groups, textures, inline PTX.
#pragma once

#include "emulation/api.h"
#include "emulation/intrinsics.h"
#include "emulation/qualifiers.h"
#include "emulation/threads.h"
#include "emulation/vectors.h"
