// The tables of pieces (tensor/ops.h) that the optimizer's operations walk over, made of a rank's segments.
#pragma once

#include <functional>
#include <vector>

#include "optim/shard.h"
#include "tensor/memory.h"
#include "tensor/ops.h"

namespace headroom {

// What a segment's pieces say of themselves; nothing: the segment is not in the table.
struct PieceRole {
  bool included = true;
  std::int64_t group = 0;
  std::int64_t flags = 0;
};

class PieceTable {
 public:
  PieceTable() = default;
  PieceTable(const OptimizerShard& shard, const std::function<PieceRole(const Segment&)>& role_of);

  // Takes the table's memory out of an arena and, when there is memory behind it, fills it.
  void allocate(Arena& arena);
  const Tensor& tensor() const { return tensor_; }

 private:
  std::vector<Piece> pieces_;
  Tensor tensor_;
};

}  // namespace headroom
