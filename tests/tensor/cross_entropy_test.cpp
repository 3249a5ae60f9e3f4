// Cross-entropy from its three passes, whole and cut over ranks of a tensor group, with padded columns and ignored
// targets.
#include <limits>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::expect_gradient;
using reference::TestTensor;
using reference::tolerance;

struct Size {
  std::int64_t rows;
  std::int64_t columns;  // of the logits' memory
  std::int64_t real;     // the vocabulary
};
constexpr Size kSizes[] = {{1, 1, 1}, {3, 5, 5}, {7, 16, 13}, {64, 64, 64}, {37, 1040, 1031}, {19, 4104, 4099}};

// Some of every five ignored.
std::vector<std::int32_t> some_targets(std::int64_t rows, std::int64_t vocabulary) {
  const RandomStream stream(7, "targets");
  std::vector<std::int32_t> targets;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto id = static_cast<std::int32_t>(stream.bits(static_cast<std::uint64_t>(r))[0] %
                                              static_cast<std::uint32_t>(vocabulary));
    targets.push_back(r % 5 == 3 ? -1 : id);
  }
  return targets;
}

class CrossEntropy : public reference::OverPlaces {
 protected:
  double close() const { return relative(2e-6); }
  double wide_close() const { return place().wide() == DType::f64 ? tolerance(DType::f64) : 2e-6; }
  TestTensor on_device(const std::vector<std::int32_t>& targets) const {
    return TestTensor::integers(targets, place());
  }
};
HEADROOM_OVER_PLACES(CrossEntropy);

TEST_P(CrossEntropy, PassesGiveMaximaSumsAndGradients) {
  constexpr double kScale = 1.0 / 512;
  for (const auto& [rows, columns, real] : kSizes) {
    const auto logits = random({rows, columns}, "logits", 4.0);
    const auto targets = some_targets(rows, real);
    const auto maxima = wide_zeros({rows});
    const auto sums = wide_zeros({rows});
    const auto chosen = wide_random({rows}, "overwritten");
    std::vector<double> expected_maxima;
    std::vector<double> expected_sums;
    std::vector<double> expected_chosen;
    std::vector<double> exponentials(static_cast<std::size_t>(rows * columns), 0.0);
    auto gradients = exponentials;
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int32_t target = targets[static_cast<std::size_t>(r)];
      double largest = -std::numeric_limits<double>::infinity();
      for (std::int64_t c = 0; c < real; ++c) largest = std::max(largest, logits.at(r * columns + c));
      double sum = 0.0;
      for (std::int64_t c = 0; c < real; ++c) {
        const double e = std::exp(logits.at(r * columns + c) - largest);
        exponentials[static_cast<std::size_t>(r * columns + c)] = e;
        sum += e;
      }
      for (std::int64_t c = 0; target >= 0 && c < real; ++c) {
        const auto at = static_cast<std::size_t>(r * columns + c);
        gradients[at] = kScale * (exponentials[at] / sum - (c == target ? 1.0 : 0.0));
      }
      expected_maxima.push_back(largest);
      expected_sums.push_back(sum);
      expected_chosen.push_back(target >= 0 ? logits.at(r * columns + target) - largest : 0.0);
    }
    ops::row_max(logits, real, maxima);
    EXPECT_EQ(maxima.values(), expected_maxima);
    ops::exp_and_sum(maxima, on_device(targets), 0, real, logits, sums, chosen);
    expect_close(logits, exponentials, close(), "exponentials");
    expect_close(sums, expected_sums, wide_close(), "sums");
    expect_close(chosen, expected_chosen, wide_close(), "target logits");
    ops::cross_entropy_backward(sums, on_device(targets), 0, real, kScale, logits);
    expect_close(logits, gradients, close(), "gradients");
    for (std::int64_t i = 0; i < logits.elements(); ++i) {
      if (i % columns >= real || targets[static_cast<std::size_t>(i / columns)] < 0) {
        ASSERT_EQ(logits.at(i), 0.0) << "a padded column or an ignored row has a gradient";
      }
    }
  }
}

// Two ranks with 8 columns each for a vocabulary of 13, then a third with nothing but padding.
TEST_P(CrossEntropy, ShardsOfTheVocabularyTogetherAreTheWhole) {
  constexpr std::int64_t kRows = 11;
  constexpr std::int64_t kVocabulary = 13;
  constexpr std::int64_t kColumns = 8;
  constexpr std::int64_t kRanks = 3;
  const auto whole = random({kRows, kVocabulary}, "logits", 4.0);
  const auto targets = some_targets(kRows, kVocabulary);
  std::vector<TestTensor> shards;
  std::vector<std::int64_t> reals;
  for (std::int64_t rank = 0; rank < kRanks; ++rank) {
    auto& shard = shards.emplace_back(random({kRows, kColumns}, "padding"));
    reals.push_back(std::clamp(kVocabulary - rank * kColumns, std::int64_t{0}, kColumns));
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t c = 0; c < reals.back(); ++c) {
        shard.set(r * kColumns + c, whole.at(r * kVocabulary + rank * kColumns + c));
      }
    }
  }

  const auto maxima = wide_zeros({kRows});
  const auto sums = wide_zeros({kRows});
  const auto chosen = wide_zeros({kRows});
  ops::row_max(whole, kVocabulary, maxima);
  auto sharded_maxima = TestTensor::filled({kRows}, wide_place(), -std::numeric_limits<double>::infinity());
  auto sharded_sums = wide_zeros({kRows});
  auto sharded_chosen = wide_zeros({kRows});
  const auto partial = wide_zeros({kRows});
  const auto partial_chosen = wide_zeros({kRows});
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    ops::row_max(shards[rank], reals[rank], partial);
    for (std::int64_t r = 0; r < kRows; ++r) sharded_maxima.set(r, std::max(sharded_maxima.at(r), partial.at(r)));
    if (reals[rank] == 0) {
      EXPECT_THAT(partial.values(), ::testing::Each(-std::numeric_limits<double>::infinity()));
    }
  }
  EXPECT_EQ(sharded_maxima.values(), maxima.values());

  ops::exp_and_sum(maxima, on_device(targets), 0, kVocabulary, whole, sums, chosen);
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    const auto first = static_cast<std::int64_t>(rank) * kColumns;
    ops::exp_and_sum(maxima, on_device(targets), first, reals[rank], shards[rank], partial, partial_chosen);
    for (std::int64_t r = 0; r < kRows; ++r) {
      sharded_sums.set(r, sharded_sums.at(r) + partial.at(r));
      sharded_chosen.set(r, sharded_chosen.at(r) + partial_chosen.at(r));
    }
  }
  expect_close(sharded_sums, sums.values(), wide_close(), "sums");
  EXPECT_EQ(sharded_chosen.values(), chosen.values());

  ops::cross_entropy_backward(sums, on_device(targets), 0, kVocabulary, 0.25, whole);
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    const auto first = static_cast<std::int64_t>(rank) * kColumns;
    ops::cross_entropy_backward(sums, on_device(targets), first, reals[rank], 0.25, shards[rank]);
    for (std::int64_t i = 0; i < shards[rank].elements(); ++i) {
      const std::int64_t column = i % kColumns;
      const bool real = column < reals[rank];
      ASSERT_EQ(shards[rank].at(i), real ? whole.at(i / kColumns * kVocabulary + first + column) : 0.0);
    }
  }
}

// Both passes take a target in the padding for one that is not here: the columns behind the vocabulary's belong to
// nobody.
TEST_P(CrossEntropy, ATargetInThePaddingIsNotHere) {
  const auto logits = random({1, 8}, "logits");
  const std::vector<std::int32_t> target = {5};
  const auto maxima = wide_zeros({1});
  const auto sums = wide_zeros({1});
  const auto chosen = wide_zeros({1});
  ops::row_max(logits, 5, maxima);
  ops::exp_and_sum(maxima, on_device(target), 0, 5, logits, sums, chosen);
  EXPECT_EQ(chosen.at(0), 0.0);
  ops::cross_entropy_backward(sums, on_device(target), 0, 5, 1.0, logits);
  EXPECT_THAT(logits.values(), ::testing::Contains(0.0).Times(3)) << "padding has a gradient";
}

TEST_P(CrossEntropy, HugeLogitsNeitherOverflowNorVanish) {
  auto logits = zeros({2, 3});
  const double values[] = {32768.0, 32768.0 - 256.0, -32768.0, -98304.0, -98304.0, -98304.0};
  for (std::int64_t i = 0; i < 6; ++i) logits.set(i, values[i]);
  const auto maxima = wide_zeros({2});
  const auto sums = wide_zeros({2});
  const auto chosen = wide_zeros({2});
  ops::row_max(logits, 3, maxima);
  ops::exp_and_sum(maxima, on_device({1, 2}), 0, 3, logits, sums, chosen);
  EXPECT_THAT(sums.values(), ::testing::ElementsAre(1.0, 3.0));
  EXPECT_THAT(chosen.values(), ::testing::ElementsAre(-256.0, 0.0));
}

TEST_P(CrossEntropy, NanInARowReachesItsSum) {
  auto logits = random({2, 100}, "logits");
  logits.set(37, std::numeric_limits<double>::quiet_NaN());
  const auto maxima = wide_zeros({2});
  const auto sums = wide_zeros({2});
  const auto chosen = wide_zeros({2});
  ops::row_max(logits, 100, maxima);
  ops::exp_and_sum(maxima, on_device({1, 2}), 0, 100, logits, sums, chosen);
  EXPECT_TRUE(std::isnan(sums.at(0)));
  EXPECT_TRUE(std::isfinite(sums.at(1)));
}

// One call over the whole vocabulary is the three passes.
TEST_P(CrossEntropy, WholeIsTheThreePasses) {
  for (const auto& [rows, columns, real] : kSizes) {
    const auto logits = random({rows, columns}, "logits", 4.0);
    const auto targets = on_device(some_targets(rows, real));
    const auto maxima = wide_zeros({rows});
    const auto expected_sums = wide_zeros({rows});
    const auto expected_chosen = wide_zeros({rows});
    // In f32 at least: bf16's exponentials are rounded between the passes.
    const TestTensor passes(logits.shape(), place().wide(), place().device);
    auto expected = passes.clone();
    for (std::int64_t i = 0; i < logits.elements(); ++i) expected.set(i, logits.at(i));
    ops::row_max(expected, real, maxima);
    ops::exp_and_sum(maxima, targets, 0, real, expected, expected_sums, expected_chosen);
    ops::cross_entropy_backward(expected_sums, targets, 0, real, 0.25, expected);
    const auto untouched = logits.clone();
    const auto sums = wide_zeros({rows});
    const auto chosen = wide_zeros({rows});
    ops::cross_entropy(targets, real, 0.25, logits, sums, chosen);
    // Maximum and sum may be taken together, so that only the loss is the same.
    for (std::int64_t r = 0; r < rows; ++r) {
      const double want = std::log(expected_sums.at(r)) - expected_chosen.at(r);
      if (targets.at(r) < 0) continue;
      EXPECT_NEAR(std::log(sums.at(r)) - chosen.at(r), want, 1e-5 * (1.0 + want));
    }
    expect_close(logits, expected.values(), close(), "gradients");
    const auto sums_alone = wide_zeros({rows});
    const auto chosen_alone = wide_zeros({rows});
    ops::cross_entropy(targets, real, 0.0, untouched, sums_alone, chosen_alone);  // evaluation
    EXPECT_EQ(sums_alone.values(), sums.values());
    EXPECT_EQ(chosen_alone.values(), chosen.values());
  }
}

TEST_P(CrossEntropy, TokenLossesAddUpOverTheCountedRows) {
  const std::int64_t rows = 1031;
  const auto targets = some_targets(rows, 17);
  auto sums = wide_random({rows}, "sums");
  for (std::int64_t r = 0; r < rows; ++r) sums.set(r, std::abs(sums.at(r)) + 0.5);
  const auto chosen = wide_random({rows}, "chosen");
  const TestTensor nll = TestTensor::filled({1}, reference::Place{place().device, DType::f64}, 3.0);
  double expected = 3.0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (targets[static_cast<std::size_t>(r)] >= 0) expected += std::log(sums.at(r)) - chosen.at(r);
  }
  ops::add_token_losses(sums, chosen, on_device(targets), nll);
  EXPECT_NEAR(nll.at(0), expected, place().wide() == DType::f64 ? 1e-11 : 1e-4);
}

TEST(CrossEntropyGradients, AgreeWithFiniteDifferences) {
  constexpr std::int64_t kRows = 6;
  constexpr std::int64_t kColumns = 9;
  constexpr std::int64_t kReal = 7;
  auto logits = TestTensor::random({kRows, kColumns}, DType::f64, "logits");
  const auto targets = some_targets(kRows, kReal);
  const auto ids = TestTensor::integers(targets, reference::kCpuF64);
  const TestTensor maxima({kRows}, DType::f64);
  const TestTensor sums({kRows}, DType::f64);
  const TestTensor chosen({kRows}, DType::f64);
  const auto forward = [&](const TestTensor& values) {
    ops::row_max(values, kReal, maxima);
    ops::exp_and_sum(maxima, ids, 0, kReal, values, sums, chosen);
    double loss = 0.0;
    for (std::int64_t r = 0; r < kRows; ++r) {
      if (targets[static_cast<std::size_t>(r)] >= 0) loss += 0.5 * (std::log(sums.at(r)) - chosen.at(r));
    }
    return loss;
  };
  const auto gradient = logits.clone();
  forward(gradient);
  ops::cross_entropy_backward(sums, ids, 0, kReal, 0.5, gradient);
  expect_gradient([&] { return forward(logits.clone()); }, logits, gradient, "dlogits");
}

}  // namespace
}  // namespace headroom
