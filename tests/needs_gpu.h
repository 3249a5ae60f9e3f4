// For tests that need a GPU, real or emulated.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "tensor/backend.h"

namespace headroom {

// Whether somebody said which backend to take, as the suite does: then a missing one is a failure, not a reason to
// skip.
inline bool gpu_is_expected() {
  return std::getenv("HEADROOM_CUDA_LIBRARY") != nullptr;
}

// In a test or SetUp: goes on where there is a GPU, fails where one was expected, and else skips with the reason.
#define HEADROOM_NEEDS_GPU()                                 \
  if (const auto reason = ::headroom::why_no_gpu()) {        \
    if (::headroom::gpu_is_expected()) FAIL() << *reason;    \
    GTEST_SKIP() << "no GPU, real or emulated: " << *reason; \
  }                                                          \
  static_assert(true, "wants a semicolon")

}  // namespace headroom
