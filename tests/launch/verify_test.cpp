// headroom verify: each demo variant, shrunk, is the same run at every layout; and a run that is not is found out.
#include "trainer/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DemoVariant : public testing::TestWithParam<const char*> {};

TEST_P(DemoVariant, IsTheSameRunAtEveryLayout) {
  const Workspace here;
  const std::string shrink =
      " --set model.hidden_size=32 --set model.n_layers=2 --set model.ffn_size=48 --set model.seq_len=16"
      " --set train.global_batch=8 --set snapshot.calibration_sequences=2 --set snapshot.calibration_tokens=16"
      " --set 'snapshot.sentences=[\"the old river\"]' --set eval.windows=4 --set optim.tvr.interval=5 --set "
      "data.corpus=" +
      (here / "corpus").string();
  const Outcome outcome = headroom("verify " HEADROOM_SOURCE_DIR "/configs/demo/" + std::string(GetParam()) +
                                   ".toml --steps 20 --twice --layouts 1x1,2x1,1x2,2x2,1x4,4x1" + shrink);
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("all layouts agree"));
}

INSTANTIATE_TEST_SUITE_P(Variants, DemoVariant,
                         testing::Values("baseline", "tvr", "kv-bias", "dyt", "tvr-kv-bias", "tvr-dyt"));

TEST(Verify, ALayoutThatCannotBeIsReportedWithTheReason) {
  const Workspace here;
  const Outcome outcome = headroom("verify " + here.config("run") + " --steps 2 --layouts 1x1,1x3");
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("training at 1x3 ended with status 3"), HasSubstr("n_heads")));
}

// The comparison itself: another learning rate gives other losses and parameters, another seed other data too.
TEST(CompareRuns, FindsWhatDiffers) {
  const Workspace here;
  ASSERT_EQ(headroom("train " + here.config("one")).status, 0);
  ASSERT_EQ(headroom("train " + here.config("again")).status, 0);
  ASSERT_EQ(headroom("train " + here.config("rate") + " --set optim.lr=1.001e-2").status, 0);
  ASSERT_EQ(headroom("train " + here.config("seed") + " --set seed=2").status, 0);
  const VerifyTolerance tolerance = tolerance_for("f32");

  const LayoutComparison same = compare_runs(here.run("one"), here.run("again"));
  EXPECT_TRUE(same.same_bits && same.same_data && within(same, tolerance));

  const LayoutComparison rate = compare_runs(here.run("one"), here.run("rate"));
  EXPECT_TRUE(rate.same_data);
  EXPECT_FALSE(rate.same_bits || within(rate, tolerance));
  EXPECT_GT(rate.parameters, 0.0);

  const LayoutComparison seed = compare_runs(here.run("one"), here.run("seed"));
  EXPECT_FALSE(seed.same_data || seed.same_bits || within(seed, tolerance));
  EXPECT_NE(seed.worst_parameter, "");
  EXPECT_NE(seed.worst_statistic, "");
}

TEST(CompareRuns, ANaNIsNeverWithinTheLimits) {
  LayoutComparison comparison;
  EXPECT_TRUE(within(comparison, tolerance_for("f64")));
  for (double LayoutComparison::*figure :
       {&LayoutComparison::loss, &LayoutComparison::parameters, &LayoutComparison::snapshot}) {
    LayoutComparison broken = comparison;
    broken.*figure = std::nan("");
    EXPECT_FALSE(within(broken, tolerance_for("f64")));
  }
}

}  // namespace
}  // namespace headroom::test
