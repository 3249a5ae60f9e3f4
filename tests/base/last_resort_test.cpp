// The end that nothing can hold up.
#include "base/last_resort.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

namespace headroom {
namespace {

// In a process of its own, forked by GoogleTest.
TEST(LastResort, EndsAProcessThatBlocksAllSignalsAndWaitsForEver) {
  const auto wait_for_ever = [] {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    end_process_within(3600, 1);
    end_process_within(1, 7);  // the later one counts
    for (;;) ::pause();
  };
  EXPECT_EXIT(wait_for_ever(), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace headroom
