// CUDA's qualifiers as C++. Shared memory is thread_local, which makes a block-scope variable static as well: blocks
// run one after another on one thread of the operating system, so each has it for itself.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ thread_local
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
