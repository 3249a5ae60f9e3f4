// The monitor on one rank: what it sees of a step, however the step is cut.
#include "analysis/monitor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "analysis/statistics.h"
#include "base/error.h"
#include "base/random.h"

namespace headroom {
namespace {

constexpr std::int64_t kSeq = 5;
constexpr std::int64_t kHidden = 7;

// The block outputs of `samples` sequences, the same for a given layer however they are batched.
std::vector<float> hidden_of(std::int64_t layer, std::int64_t samples) {
  const RandomStream stream(3, "monitor-test/" + std::to_string(layer));
  std::vector<float> h(static_cast<std::size_t>(samples * kSeq * kHidden));
  for (std::size_t i = 0; i < h.size(); ++i) h[i] = static_cast<float>(stream.normal(i));
  return h;
}

// Shows samples [first, first + count) of `all` as one micro-batch.
void show(Monitor& monitor, std::int64_t layer, std::vector<float>& all, std::int64_t first, std::int64_t count) {
  const auto begin = static_cast<std::size_t>(first * kSeq * kHidden);
  const auto size = static_cast<std::size_t>(count * kSeq * kHidden);
  monitor.hidden(Site::block_output, layer, Tensor::over(std::span(all).subspan(begin, size), {count * kSeq, kHidden}),
                 0);
}

TEST(Monitor, NamesMaximumMedianAndPlace) {
  std::vector<float> first = hidden_of(0, 3);
  std::vector<float> second = hidden_of(1, 3);
  first[(2 * kSeq + 4) * kHidden + 6] = -50.0f;  // sample 2, position 4, channel 6
  second[(1 * kSeq + 0) * kHidden + 3] = 40.0f;
  Monitor monitor(2, kHidden, Device::cpu);
  monitor.begin_step();
  monitor.begin_micro_batch(0, kSeq);
  show(monitor, 0, first, 0, 3);
  show(monitor, 1, second, 0, 3);
  const Mesh mesh = Mesh::single();
  const MonitorRecord record = monitor.collect(mesh);
  ASSERT_EQ(record.max.size(), 2u);
  EXPECT_EQ(record.max[0], 50.0);
  EXPECT_EQ(record.argmax[0], (std::array<std::int64_t, 3>{2, 4, 6}));
  EXPECT_EQ(record.max[1], 40.0);
  EXPECT_EQ(record.argmax[1], (std::array<std::int64_t, 3>{1, 0, 3}));
  EXPECT_NEAR(record.median[0] / median_magnitude<float>(first), 1.0, 0.06);
  EXPECT_DOUBLE_EQ(record.ratio[0], 50.0 / record.median[0]);
}

TEST(Monitor, MicroBatchesMakeNoDifference) {
  std::vector<float> all = hidden_of(0, 6);
  const Mesh mesh = Mesh::single();
  const auto watch = [&](std::int64_t micro_batch) {
    Monitor monitor(1, kHidden, Device::cpu);
    monitor.begin_step();
    for (std::int64_t first = 0; first < 6; first += micro_batch) {
      monitor.begin_micro_batch(first, kSeq);
      show(monitor, 0, all, first, micro_batch);
    }
    return monitor.collect(mesh);
  };
  const MonitorRecord whole = watch(6);
  for (const std::int64_t micro_batch : {1, 2, 3}) {
    const MonitorRecord cut = watch(micro_batch);
    EXPECT_EQ(cut.max, whole.max);
    EXPECT_EQ(cut.median, whole.median);
    EXPECT_EQ(cut.argmax, whole.argmax);
  }
}

TEST(Monitor, StepsAreApartAndOtherSitesAreNotWatched) {
  std::vector<float> all = hidden_of(0, 1);
  std::vector<float> huge(kSeq * kHidden, 1e6f);
  Monitor monitor(1, kHidden, Device::cpu);
  const Mesh mesh = Mesh::single();
  monitor.begin_step();
  monitor.begin_micro_batch(0, kSeq);
  show(monitor, 0, huge, 0, 1);
  EXPECT_EQ(monitor.collect(mesh).max[0], 1e6);
  monitor.begin_step();
  monitor.begin_micro_batch(0, kSeq);
  show(monitor, 0, all, 0, 1);
  monitor.hidden(Site::mlp_output, 0, Tensor::over(std::span(huge), {kSeq, kHidden}), 0);
  EXPECT_LT(monitor.collect(mesh).max[0], 10.0);
}

TEST(Monitor, ANaNIsReported) {
  std::vector<float> all = hidden_of(0, 2);
  all[(1 * kSeq + 2) * kHidden + 1] = std::nanf("");
  Monitor monitor(1, kHidden, Device::cpu);
  monitor.begin_step();
  monitor.begin_micro_batch(4, kSeq);
  show(monitor, 0, all, 0, 2);
  const MonitorRecord record = monitor.collect(Mesh::single());
  EXPECT_TRUE(std::isnan(record.max[0]));
  EXPECT_TRUE(std::isnan(record.ratio[0]));
  EXPECT_EQ(record.argmax[0], (std::array<std::int64_t, 3>{5, 2, 1}));
}

TEST(Monitor, AForwardThatWasNotAnnouncedIsABug) {
  std::vector<float> all = hidden_of(0, 1);
  Monitor monitor(1, kHidden, Device::cpu);
  monitor.begin_step();
  EXPECT_THROW(show(monitor, 0, all, 0, 1), Error);
}

}  // namespace
}  // namespace headroom
