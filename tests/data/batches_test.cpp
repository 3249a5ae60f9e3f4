// Data order is a pure function of (seed, epoch, global sample index).
#include "data/batches.h"

#include <zlib.h>

#include <map>
#include <numeric>
#include <set>

#include "tests/data/support.h"

namespace headroom {
namespace {

using test::bytes_of;
using test::expect_error;
using test::Scratch;

// A raw token file of 0, 1, 2, ...: the tokens are their own positions.
TokenFile counting(const Scratch& scratch, std::uint16_t count) {
  std::vector<std::uint16_t> ids(count);
  std::iota(ids.begin(), ids.end(), std::uint16_t{0});
  return TokenFile::open(scratch.file("counting.bin", bytes_of(ids)));
}

TEST(SampleOrder, VisitsEveryWindowOnceAnEpochInAnOrderOfItsOwn) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 1000);
  const SampleOrder order(tokens, 7, 42);
  ASSERT_EQ(order.samples_per_epoch(), 142u);  // 142 * 7 + 1 <= 1000
  std::vector<std::vector<std::uint64_t>> epochs;
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<std::uint64_t> seen;
    epochs.emplace_back();
    for (std::uint64_t i = 0; i < 142; ++i) {
      const std::uint64_t begin = order.window(epoch * 142 + i);
      EXPECT_EQ(begin % 7, 0u);
      EXPECT_LE(begin + 7 + 1, 1000u);
      seen.insert(begin);
      epochs.back().push_back(begin);
    }
    EXPECT_EQ(seen.size(), 142u);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
  EXPECT_FALSE(std::is_sorted(epochs[0].begin(), epochs[0].end()));
  const SampleOrder other(tokens, 7, 43);
  EXPECT_NE(other.window(0), order.window(0));
}

TEST(SampleOrder, NeedsAWholeWindow) {
  const Scratch scratch;
  EXPECT_EQ(SampleOrder(counting(scratch, 8), 7, 1).samples_per_epoch(), 1u);
  const TokenFile small = counting(scratch, 7);
  expect_error([&] { SampleOrder(small, 7, 1); }, ExitCode::bad_data, {"counting.bin", "7 tokens"});
}

TEST(ReadBatch, TargetsAreTheNextTokens) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 1000);
  const SampleOrder order(tokens, 5, 1);
  const Batch batch = read_batch(tokens, order, 190, 13, 5, 1000);
  ASSERT_EQ(batch.ids.size(), 65u);
  ASSERT_EQ(batch.targets.size(), 65u);
  for (std::size_t row = 0; row < 13; ++row) {
    for (std::size_t t = 0; t < 5; ++t) {
      EXPECT_EQ(static_cast<std::uint64_t>(batch.ids[row * 5 + t]), order.window(190 + row) + t);
      EXPECT_EQ(batch.targets[row * 5 + t], batch.ids[row * 5 + t] + 1);
    }
  }
}

TEST(ReadBatch, IsTheSameHoweverRanksAndMicroBatchesSplitIt) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 977);
  const SampleOrder order(tokens, 11, 3);
  const std::uint64_t first = 82;  // the batch runs over the end of an epoch of 88
  const Batch whole = read_batch(tokens, order, first, 12, 11, 0);
  for (const std::int64_t part : {1, 2, 3, 4, 6}) {
    std::vector<std::int32_t> ids, targets;
    for (std::int64_t at = 0; at < 12; at += part) {
      const Batch some = read_batch(tokens, order, first + static_cast<std::uint64_t>(at), part, 11, 0);
      ids.insert(ids.end(), some.ids.begin(), some.ids.end());
      targets.insert(targets.end(), some.targets.begin(), some.targets.end());
    }
    EXPECT_EQ(ids, whole.ids) << "parts of " << part;
    EXPECT_EQ(targets, whole.targets) << "parts of " << part;
  }
}

TEST(ReadBatch, NamesIdsBeyondTheVocabulary) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 100);
  const SampleOrder order(tokens, 99, 3);
  expect_error([&] { read_batch(tokens, order, 0, 1, 99, 50); }, ExitCode::bad_data, {"token 50 has id 50"});
}

TEST(BatchCrc, OfPartsCombinesToTheWhole) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 977);
  const SampleOrder order(tokens, 11, 3);
  const Batch whole = read_batch(tokens, order, 0, 7, 11, 0);
  const Batch head = read_batch(tokens, order, 0, 3, 11, 0);
  const Batch tail = read_batch(tokens, order, 3, 4, 11, 0);
  const std::uint32_t crc = batch_crc(whole);
  const std::string ids = bytes_of(whole.ids);
  EXPECT_EQ(crc, crc32(0, reinterpret_cast<const Bytef*>(ids.data()), static_cast<uInt>(ids.size())));
  EXPECT_EQ(batch_crc(tail, batch_crc(head)), crc);
  EXPECT_EQ(combine_crc(batch_crc(head), batch_crc(tail), tail.ids.size()), crc);
  EXPECT_NE(combine_crc(batch_crc(tail), batch_crc(head), head.ids.size()), crc);
}

// How often each token is a target in windows [0, windows).
std::map<std::int32_t, int> targets_of(const HeldOut& held_out, std::int64_t count) {
  std::map<std::int32_t, int> targets;
  for (std::uint64_t first = 0; first < held_out.windows(); first += static_cast<std::uint64_t>(count)) {
    const Batch batch = held_out.read(first, count, 0);
    for (std::size_t i = 0; i < batch.targets.size(); ++i) {
      if (batch.targets[i] < 0) continue;
      EXPECT_EQ(batch.targets[i], batch.ids[i] + 1);
      ++targets[batch.targets[i]];
    }
  }
  return targets;
}

TEST(HeldOut, EveryTokenButTheFirstIsATargetOnce) {
  const Scratch scratch;
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{2, 3, 8, 9, 97, 98, 99, 100}) {
    const TokenFile tokens = counting(scratch, size);
    for (const std::int64_t count : {1, 4}) {
      const auto targets = targets_of(HeldOut(tokens, 7, 0), count);
      EXPECT_EQ(targets.size(), size - 1u) << size << " tokens";
      for (const auto& [id, times] : targets) EXPECT_EQ(times, 1) << "token " << id << " of " << size;
      EXPECT_FALSE(targets.contains(0));
    }
  }
}

TEST(HeldOut, ALimitSpreadsWindowsOverTheWholeFile) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 1001);  // 100 windows of 10
  const HeldOut held_out(tokens, 10, 8);
  ASSERT_EQ(held_out.windows(), 8u);
  const Batch batch = held_out.read(0, 8, 0);
  std::vector<std::int32_t> begins;
  for (std::size_t row = 0; row < 8; ++row) begins.push_back(batch.ids[row * 10]);
  EXPECT_THAT(begins, testing::ElementsAre(0, 120, 250, 370, 500, 620, 750, 870));
  EXPECT_EQ(HeldOut(tokens, 10, 1000).windows(), 100u);
}

TEST(HeldOut, RowsPastTheEndCountForNothing) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 25);
  const HeldOut held_out(tokens, 10, 0);
  ASSERT_EQ(held_out.windows(), 3u);  // 10 + 10 + 4 targets
  const Batch batch = held_out.read(2, 3, 0);
  EXPECT_EQ(std::count_if(batch.targets.begin(), batch.targets.end(), [](int t) { return t >= 0; }), 4);
  EXPECT_EQ(batch.targets[3], 24);
  EXPECT_EQ(batch.targets[4], -1);
}

TEST(HeldOut, NeedsTwoTokens) {
  const Scratch scratch;
  const TokenFile tokens = counting(scratch, 1);
  expect_error([&] { HeldOut(tokens, 10, 0); }, ExitCode::bad_data, {"counting.bin"});
}

}  // namespace
}  // namespace headroom
