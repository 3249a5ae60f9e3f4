// Ranks that fail together.
#include "parallel/agreement.h"

#include <gtest/gtest.h>

#include "tests/mpi_world.h"

namespace headroom {
namespace {

class Agreement : public testing::Test {
 protected:
  std::unique_ptr<Communicator> world_ = test_runtime().world();
};

TEST_F(Agreement, WhatRankZeroReturnsAllHave) {
  const std::string text = std::string("a\0b", 3) + std::string(1000, 'x');
  EXPECT_EQ(on_root(*world_, [&] { return world_->rank() == 0 ? text : "wrong"; }), text);
  EXPECT_EQ(on_root(*world_, [] { return std::string(); }), "");
}

TEST_F(Agreement, WhatRankZeroThrowsAllThrow) {
  try {
    on_root(*world_, []() -> std::string { throw Error(ExitCode::busy, "what 7\nhappened", "do 5 things"); });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::busy);
    EXPECT_STREQ(error.what(), "what 7\nhappened");
    EXPECT_EQ(error.hint(), "do 5 things");
  }
}

TEST_F(Agreement, WhenSomeFailAllThrowTheFirstOnes) {
  const int failing = world_->size() / 2;  // and all behind it
  try {
    on_all(*world_, [&] {
      if (world_->rank() >= failing) throw Error(ExitCode::disk_full, fmt::format("rank {}", world_->rank()));
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::disk_full);
    EXPECT_EQ(error.what(), fmt::format("rank {}", failing));
    EXPECT_EQ(error.hint(), "");
  }
  EXPECT_NO_THROW(on_all(*world_, [] {}));
  EXPECT_FALSE(first_failure(*world_, std::nullopt));
}

}  // namespace
}  // namespace headroom
