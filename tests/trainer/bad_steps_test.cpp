// What the window of past steps lets through, and that its memory survives a checkpoint.
#include "trainer/bad_steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "trainer/training_state.h"

namespace headroom {
namespace {

using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(StepHistory, HasNoLimitsUntilHalfTheWindowIsThere) {
  StepHistory history({.spike = 3.0, .window = 10});
  for (int step = 0; step < 5; ++step) {
    EXPECT_EQ(history.limits().loss, kInfinity) << step;
    history.good(2.0, 1.0);
  }
  EXPECT_LT(history.limits().loss, kInfinity);
}

TEST(StepHistory, HasNoLimitsWithoutASpike) {
  StepHistory history({.spike = 0.0, .window = 8});
  for (int step = 0; step < 20; ++step) history.good(2.0, 1.0);
  EXPECT_EQ(history.limits().loss, kInfinity);
  EXPECT_EQ(history.limits().norm, kInfinity);
}

TEST(StepHistory, LimitsAreDeviationsAboveTheMeanOfTheLastSteps) {
  StepHistory history({.spike = 4.0, .window = 8});
  for (int step = 0; step < 50; ++step) history.good(100.0, 100.0);  // fallen out of the window by the end
  for (const double loss : {3.0, 5.0, 3.0, 5.0, 3.0, 5.0, 3.0, 5.0}) history.good(loss, 2.0 * loss);
  EXPECT_DOUBLE_EQ(history.limits().loss, 4.0 + 4.0 * 1.0);
  EXPECT_DOUBLE_EQ(history.limits().norm, 8.0 + 4.0 * 2.0);
}

TEST(StepHistory, ADeviationIsAtLeastAThousandthOfTheMean) {
  StepHistory history({.spike = 5.0, .window = 8});
  for (int step = 0; step < 8; ++step) history.good(2.0, 1.0);
  EXPECT_DOUBLE_EQ(history.limits().loss, 2.0 + 5.0 * 2e-3);
}

TEST(StepHistory, SaysWhyAStepWasNotMade) {
  StepHistory history({.spike = 5.0, .window = 8});
  for (int step = 0; step < 8; ++step) history.good(2.0, 1.0);
  EXPECT_THAT(history.reason(std::nan(""), 1.0), HasSubstr("not both finite"));
  EXPECT_THAT(history.reason(2.0, kInfinity), HasSubstr("not both finite"));
  EXPECT_THAT(history.reason(3.0, 1.0), HasSubstr("loss 3 is beyond 2.01"));
  EXPECT_THAT(history.reason(2.0, 4.0), HasSubstr("gradient norm 4 is beyond 1.005"));
}

TEST(StepHistory, LosesPatienceWithStepsInARowOnly) {
  StepHistory history({.patience = 2});
  history.bad(7, {56, 8});
  EXPECT_FALSE(history.patience_is_over());
  history.good(2.0, 1.0);
  history.bad(9, {72, 8});
  EXPECT_FALSE(history.patience_is_over());
  history.bad(10, {80, 8});
  EXPECT_TRUE(history.patience_is_over());
  ASSERT_EQ(history.bad_in_a_row().size(), 2U);
  EXPECT_EQ(history.bad_in_a_row()[1].step, 10);
  EXPECT_EQ(history.bad_in_a_row()[1].samples, (SampleRange{80, 8}));
}

// By way of text, as in a checkpoint.
TEST(TrainingState, SurvivesACheckpointToTheBit) {
  const BadStepConfig config{.spike = 3.0, .window = 8};
  TrainingState state(config);
  for (int step = 1; step <= 7; ++step) state.history.good(1.0 / step, std::sqrt(step));
  state.history.bad(8, {56, 8});
  for (int step = 1; step <= 8; ++step) state.took(8, 128);
  state.left_out = {{72, 8}, {80, 8}};
  state.rollbacks = 2;
  state.rolled_back_to = 3;
  state.unfinished = {{"step", 8}, {"loss", 0.1}};
  state.metrics = {1234, "0123456789abcdef"};

  TrainingState again(config);
  again.from_json(nlohmann::ordered_json::parse(state.to_json().dump()));
  EXPECT_EQ(again.to_json(), state.to_json());
  EXPECT_EQ(again.samples, 64U);
  EXPECT_EQ(again.history.limits().loss, state.history.limits().loss);
  EXPECT_EQ(again.history.limits().norm, state.history.limits().norm);
  EXPECT_EQ(again.history.bad_in_a_row().front().samples, (SampleRange{56, 8}));
  EXPECT_EQ(again.unfinished->at("loss"), 0.1);
}

TEST(TrainingState, WhatIsMissingInACheckpointIsNamed) {
  TrainingState state({});
  nlohmann::ordered_json json = state.to_json();
  json.erase("left_out");
  try {
    state.from_json(json);
    ADD_FAILURE() << "an incomplete state was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
    EXPECT_THAT(error.what(), HasSubstr("left_out"));
  }
}

TEST(TrainingState, StepsOverWhatIsLeftOut) {
  TrainingState state({});
  state.left_out = {{24, 8}, {8, 8}, {16, 8}};  // in any order; they touch
  EXPECT_EQ(state.next_sample(), 0U);
  state.took(8, 128);
  EXPECT_EQ(state.next_sample(), 32U);
  state.took(8, 128);
  EXPECT_EQ(state.samples, 40U);
  EXPECT_EQ(state.left_out.size(), 3U) << "a rollback may come to them again";
  EXPECT_TRUE(state.to_json().at("left_out").empty()) << "a checkpoint is never gone back behind";
  EXPECT_EQ(state.step, 2);
  EXPECT_EQ(state.tokens, 256);
}

}  // namespace
}  // namespace headroom
