// For tests that run on several ranks at once (tests/mpi_main.cpp): every rank runs every test, and the tests'
// collective calls meet. A test asserts with EXPECT, or with ASSERT only on what is the same on all ranks: a rank that
// leaves a test early leaves the others waiting.
#pragma once

#include "parallel/runtime.h"

namespace headroom {

// The test program's, alive while tests run.
ParallelRuntime& test_runtime();

}  // namespace headroom
