// Ranks compare how long they were busy, and all of them name the same ones.
#include "trainer/stragglers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/system.h"
#include "tests/mpi_world.h"

namespace headroom {
namespace {

using testing::IsEmpty;

class StragglersTest : public testing::Test {
 protected:
  bool last() const { return world_->rank() == world_->size() - 1; }
  // What is named when the last rank is busy twice as long as the others, and so waits less.
  auto the_last_rank() const {
    std::vector<Straggler> expected;
    if (world_->size() > 1) expected.push_back({world_->size() - 1, host_name(), 2.0});
    return testing::ElementsAreArray(expected);
  }

  std::unique_ptr<Communicator> world_ = test_runtime().world();
};

TEST_F(StragglersTest, EveryRankNamesTheSlowOneOnceAWindow) {
  Stragglers stragglers(*world_, {.ratio = 1.5, .window = 3});
  for (int window = 0; window < 3; ++window) {
    EXPECT_THAT(stragglers.note_step(8.0, last() ? 0.0 : 4.0), IsEmpty());
    EXPECT_THAT(stragglers.note_step(8.0, last() ? 0.0 : 4.0), IsEmpty());
    EXPECT_THAT(stragglers.note_step(8.0, last() ? 0.0 : 4.0), the_last_rank());
  }
}

// One slow step is no slow rank, and one window is not held against the next.
TEST_F(StragglersTest, TheWindowsSumCounts) {
  Stragglers stragglers(*world_, {.ratio = 1.5, .window = 3});
  stragglers.note_step(8.0, last() ? 0.0 : 4.0);
  stragglers.note_step(8.0, 4.0);
  EXPECT_THAT(stragglers.note_step(8.0, 4.0), IsEmpty());
  for (int step = 0; step < 2; ++step) stragglers.note_step(80.0, last() ? 0.0 : 40.0);
  EXPECT_THAT(stragglers.note_step(80.0, last() ? 0.0 : 40.0), the_last_rank());
  for (int step = 0; step < 2; ++step) stragglers.note_step(8.0, 4.0);
  EXPECT_THAT(stragglers.note_step(8.0, 4.0), IsEmpty());
}

TEST_F(StragglersTest, NothingIsSentWithoutARatio) {
  Stragglers stragglers(*world_, {.ratio = 0.0, .window = 1});
  const std::int64_t before = world_->traffic().bytes;
  EXPECT_THAT(stragglers.note_step(8.0, last() ? 0.0 : 4.0), IsEmpty());
  EXPECT_EQ(world_->traffic().bytes, before);
}

TEST_F(StragglersTest, SettingsThatCannotBeAreRefused) {
  EXPECT_THROW(Stragglers(*world_, {.ratio = -1.5, .window = 3}), Error);
  EXPECT_THROW(Stragglers(*world_, {.ratio = 1.5, .window = 0}), Error);
}

}  // namespace
}  // namespace headroom
