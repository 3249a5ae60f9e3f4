// Faults on order happen where and when they were ordered, once.
#include "trainer/rehearsal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace headroom {
namespace {

class Rehearsed : public testing::Test {
 protected:
  double first_after(Rehearsal& rehearsal, std::int64_t step) {
    numbers_.assign(3, 0.5F);
    rehearsal.play(step, Tensor::over(std::span<float>(numbers_), {3}));
    return numbers_[0];
  }
  std::vector<float> numbers_;
};

TEST_F(Rehearsed, ANaNComesAtItsStepOnItsRankOnce) {
  Rehearsal rank0("nan step=3", 0);
  EXPECT_EQ(first_after(rank0, 2), 0.5);
  EXPECT_TRUE(std::isnan(first_after(rank0, 3)));
  EXPECT_EQ(numbers_[1], 0.5F);
  EXPECT_EQ(first_after(rank0, 3), 0.5) << "a step that comes again is spared";
  Rehearsal rank1("nan step=3", 1);
  EXPECT_EQ(first_after(rank1, 3), 0.5);
}

TEST_F(Rehearsed, SeveralScenesAndRangesAreKept) {
  Rehearsal rehearsal("spike step=2-3 rank=1; nan step=5 rank=1 ;", 1);
  EXPECT_EQ(first_after(rehearsal, 1), 0.5);
  EXPECT_GT(first_after(rehearsal, 2), 1e5);
  EXPECT_GT(first_after(rehearsal, 3), 1e5);
  EXPECT_EQ(first_after(rehearsal, 4), 0.5);
  EXPECT_TRUE(std::isnan(first_after(rehearsal, 5)));
}

TEST_F(Rehearsed, ADelayTakesItsTime) {
  Rehearsal rehearsal("delay step=1 seconds=0.05", 0);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(first_after(rehearsal, 1), 0.5);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

TEST_F(Rehearsed, NothingIsOrderedByDefault) {
  for (const char* text : {static_cast<const char*>(nullptr), "", " ; "}) {
    Rehearsal rehearsal(text, 0);
    EXPECT_EQ(first_after(rehearsal, 1), 0.5);
  }
}

TEST_F(Rehearsed, WhatIsNotUnderstoodIsNamed) {
  for (const auto& [text, word] :
       std::vector<std::pair<const char*, const char*>>{{"nam step=3", "'nam'"},
                                                        {"nan step=x", "'step=x'"},
                                                        {"nan", "'step'"},
                                                        {"nan step=9-3", "'step'"},
                                                        {"delay step=1 seconds=-1", "'seconds'"},
                                                        {"nan step=3 sec=1", "'sec=1'"}}) {
    try {
      Rehearsal(text, 0);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr(word));
    }
  }
}

}  // namespace
}  // namespace headroom
