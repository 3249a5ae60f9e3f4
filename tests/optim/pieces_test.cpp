// Tables of pieces cover what they should, once, in parts that are short enough to share out.
#include "optim/pieces.h"

#include <gtest/gtest.h>

#include "tests/arena_for.h"

namespace headroom {
namespace {

// Each element of the flat block: in how many pieces it is.
std::vector<int> cover(const PieceTable& table, std::int64_t elements) {
  std::vector<int> times(static_cast<std::size_t>(elements), 0);
  const auto* const pieces = reinterpret_cast<const Piece*>(table.tensor().data<std::int64_t>());
  for (std::int64_t i = 0; i < table.tensor().rows(); ++i) {
    EXPECT_GT(pieces[i].length, 0);
    EXPECT_LE(pieces[i].length, Piece::kLargest);
    for (std::int64_t at = 0; at < pieces[i].length; ++at) ++times[static_cast<std::size_t>(pieces[i].flat + at)];
  }
  return times;
}

TEST(PieceTable, CoversEveryRanksSlotsOnceAndLeavesOutWhatItShould) {
  constexpr int kRanks = 3;
  ParameterStore store;
  const std::size_t large = store.declare({.name = "large", .logical = {401, 503}, .partition = Partition::rows}, 0, 1);
  const std::size_t tiny = store.declare({.name = "tiny", .logical = {1}, .partition = Partition::rows}, 0, 1);
  store.declare({.name = "not asked for", .logical = {7, 13}, .partition = Partition::rows}, 0, 1);
  store.finalize(DType::f64, kRanks, 100'003);
  std::vector<int> times(static_cast<std::size_t>(store.elements()), 0);
  for (int rank = 0; rank < kRanks; ++rank) {
    const OptimizerShard shard(store, rank, kRanks);
    PieceTable table(shard, [&](const Segment& segment) {
      return PieceRole{.included = segment.parameter == large || segment.parameter == tiny,
                       .group = static_cast<std::int64_t>(segment.parameter)};
    });
    const auto memory = arena_for(table);
    const std::vector<int> own = cover(table, store.elements());
    for (std::size_t i = 0; i < own.size(); ++i) times[i] += own[i];
    // State offsets advance with flat ones and stay within the rank's state.
    const auto* const pieces = reinterpret_cast<const Piece*>(table.tensor().data<std::int64_t>());
    for (std::int64_t i = 0; i < table.tensor().rows(); ++i) {
      EXPECT_LE(pieces[i].state + pieces[i].length, shard.state_elements());
      for (const Segment& segment : shard.segments()) {
        if (pieces[i].flat < segment.flat || pieces[i].flat >= segment.flat + segment.length) continue;
        EXPECT_EQ(pieces[i].state - segment.state, pieces[i].flat - segment.flat);
        EXPECT_EQ(pieces[i].group, static_cast<std::int64_t>(segment.parameter));
      }
    }
  }
  for (const Parameter& parameter : store.all()) {
    const int expected = parameter.name == "not asked for" ? 0 : 1;
    for (std::int64_t i = 0; i < parameter.elements(); ++i) {
      ASSERT_EQ(times[static_cast<std::size_t>(parameter.offset + i)], expected) << parameter.name << "[" << i << "]";
    }
  }
}

}  // namespace
}  // namespace headroom
