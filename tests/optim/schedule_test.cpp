// Learning rates at points that can be worked out by hand.
#include "optim/schedule.h"

#include <gtest/gtest.h>

namespace headroom {
namespace {

OptimConfig config_of(ScheduleKind kind, std::int64_t warmup = 10) {
  OptimConfig config;
  config.lr = 1.0;
  config.min_lr = 0.1;
  config.schedule.kind = kind;
  config.schedule.warmup_steps = warmup;
  return config;
}

// 110 steps, 10 of them warm-up; 7 tokens a step.
double rate(const OptimConfig& config, std::int64_t step) {
  return learning_rate(config, step, 110, 7);
}

TEST(Schedule, EveryKindWarmsUpLinearly) {
  for (const ScheduleKind kind :
       {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd, ScheduleKind::constant}) {
    const OptimConfig config = config_of(kind);
    EXPECT_DOUBLE_EQ(rate(config, 1), 0.1);
    EXPECT_DOUBLE_EQ(rate(config, 5), 0.5);
    EXPECT_DOUBLE_EQ(rate(config, 10), 1.0);
  }
}

TEST(Schedule, CosineFallsHalfWayAtHalfTime) {
  const OptimConfig config = config_of(ScheduleKind::cosine);
  EXPECT_NEAR(rate(config, 35), 0.1 + 0.9 * (1.0 + 0.70710678118654752) / 2.0, 1e-15);  // a quarter of the way
  EXPECT_NEAR(rate(config, 60), 0.55, 1e-15);
  EXPECT_NEAR(rate(config, 110), 0.1, 1e-15);
}

TEST(Schedule, LinearFallsEvenly) {
  const OptimConfig config = config_of(ScheduleKind::linear);
  EXPECT_NEAR(rate(config, 11), 0.991, 1e-15);
  EXPECT_NEAR(rate(config, 60), 0.55, 1e-15);
  EXPECT_NEAR(rate(config, 110), 0.1, 1e-15);
}

TEST(Schedule, WsdIsStableUntilItsFinalDecay) {
  OptimConfig config = config_of(ScheduleKind::wsd);
  config.schedule.decay_fraction = 0.2;  // steps 89 to 110
  EXPECT_EQ(rate(config, 11), 1.0);
  EXPECT_EQ(rate(config, 88), 1.0);
  EXPECT_NEAR(rate(config, 99), 0.55, 1e-15);
  EXPECT_NEAR(rate(config, 110), 0.1, 1e-15);
  config.schedule.decay_fraction = 1.0;  // never begins before warm-up is over
  EXPECT_NEAR(rate(config, 60), 0.55, 1e-15);
}

TEST(Schedule, ConstantStays) {
  const OptimConfig config = config_of(ScheduleKind::constant);
  EXPECT_EQ(rate(config, 11), 1.0);
  EXPECT_EQ(rate(config, 110), 1.0);
}

TEST(Schedule, WithoutWarmupTheDecayBeginsAtOnce) {
  const OptimConfig config = config_of(ScheduleKind::linear, 0);
  EXPECT_NEAR(learning_rate(config, 1, 10, 7), 0.91, 1e-15);
  EXPECT_NEAR(learning_rate(config, 10, 10, 7), 0.1, 1e-15);
  EXPECT_NEAR(learning_rate(config, 1, 1, 7), 0.1, 1e-15);
}

TEST(Schedule, WarmupInTokensTakesWholeSteps) {
  OptimConfig config = config_of(ScheduleKind::cosine, 0);
  config.schedule.warmup_tokens = 71;
  EXPECT_EQ(warmup_steps(config, 7), 11);
  config.schedule.warmup_tokens = 70;
  EXPECT_EQ(warmup_steps(config, 7), 10);
  EXPECT_DOUBLE_EQ(rate(config, 5), 0.5);
  config.schedule.warmup_steps = 20;  // steps win
  EXPECT_DOUBLE_EQ(rate(config, 5), 0.25);
}

TEST(Schedule, ThePublishedWarmup) {
  OptimConfig config;
  config.schedule.warmup_tokens = 1'000'000'000;
  EXPECT_EQ(warmup_steps(config, 4032 * 2048), 122);  // 121.1
  EXPECT_DOUBLE_EQ(learning_rate(config, 61, 12'110, 4032 * 2048), 3e-4);
  EXPECT_NEAR(learning_rate(config, 12'110, 12'110, 4032 * 2048), 6e-5, 1e-18);
}

TEST(Schedule, AWarmupLongerThanTheRunNeverEnds) {
  EXPECT_DOUBLE_EQ(learning_rate(config_of(ScheduleKind::cosine, 100), 50, 50, 7), 0.5);
}

}  // namespace
}  // namespace headroom
