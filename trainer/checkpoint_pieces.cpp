#include "trainer/checkpoint_pieces.h"

#include <algorithm>

namespace headroom {
namespace {

// Cuts the run [begin, end) of a matrix of `width` columns, row by row, into at most three rectangles: the rest of a
// row, whole rows, the start of a row. `visit` is given the rectangle and where in the matrix it begins.
template <class Visit>
void for_each_rectangle(std::int64_t begin, std::int64_t end, std::int64_t width, const Visit& visit) {
  while (begin < end) {
    const std::int64_t column = begin % width;
    const bool whole_rows = column == 0 && end - begin >= width;
    const std::int64_t columns = whole_rows ? width : std::min(width - column, end - begin);
    const std::int64_t rows = whole_rows ? (end - begin) / width : 1;
    visit(Rectangle{begin / width, column, rows, columns}, begin);
    begin += rows * columns;
  }
}

}  // namespace

std::optional<Rectangle> intersection(const Rectangle& a, const Rectangle& b) {
  const std::int64_t row = std::max(a.row, b.row);
  const std::int64_t column = std::max(a.column, b.column);
  const std::int64_t rows = std::min(a.row + a.rows, b.row + b.rows) - row;
  const std::int64_t columns = std::min(a.column + a.columns, b.column + b.columns) - column;
  if (rows <= 0 || columns <= 0) return std::nullopt;
  return Rectangle{row, column, rows, columns};
}

std::vector<ShardPiece> pieces_of(const ParameterStore& store, const OptimizerShard& shard) {
  std::vector<ShardPiece> pieces;
  for (const Segment& segment : shard.segments()) {
    const Parameter& parameter = store[segment.parameter];
    const bool by_columns = parameter.partition == Partition::columns;
    const std::int64_t width = parameter.local.rank() == 2 ? parameter.local[1] : 1;
    const std::int64_t height = parameter.local[0];
    const Rectangle real{0, 0, by_columns ? height : parameter.real, by_columns ? parameter.real : width};
    const std::int64_t first = segment.flat - parameter.offset;
    for_each_rectangle(first, first + segment.length, width, [&](const Rectangle& local, std::int64_t begin) {
      const std::optional<Rectangle> kept = intersection(local, real);
      if (!kept) return;  // padding
      Rectangle place = *kept;
      (by_columns ? place.column : place.row) += parameter.first;
      pieces.push_back({segment.parameter, place, segment.state + begin - first, width});
    });
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const ShardPiece& a, const ShardPiece& b) { return a.parameter < b.parameter; });
  return pieces;
}

}  // namespace headroom
