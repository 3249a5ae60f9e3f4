// Where the numbers of a rank's optimizer shard belong in the logical tensors: the common language of shards, files and
// layouts. Whoever wants to load at one layout what another has written compares rectangles.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/parameters.h"
#include "optim/shard.h"

namespace headroom {

// Part of a logical tensor seen as rows x columns; a vector [n] is n rows of one column.
struct Rectangle {
  std::int64_t row = 0;
  std::int64_t column = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  std::int64_t elements() const { return rows * columns; }
  bool operator==(const Rectangle&) const = default;
};

// What two rectangles of one tensor share, if anything.
std::optional<Rectangle> intersection(const Rectangle& a, const Rectangle& b);

// A rectangle of parameter `parameter` as it lies in the rank's optimizer state: its first element at `state`, its rows
// `stride` apart.
struct ShardPiece {
  std::size_t parameter;
  Rectangle place;
  std::int64_t state;
  std::int64_t stride;
};

// The shard cut into rectangles, padding left out; those of one parameter stand together, in the store's order.
std::vector<ShardPiece> pieces_of(const ParameterStore& store, const OptimizerShard& shard);

}  // namespace headroom
