#include "optim/pieces.h"

#include <algorithm>

#include "tensor/transfer.h"

namespace headroom {

PieceTable::PieceTable(const OptimizerShard& shard, const std::function<PieceRole(const Segment&)>& role_of) {
  for (const Segment& segment : shard.segments()) {
    const PieceRole role = role_of(segment);
    if (!role.included) continue;
    for (std::int64_t done = 0; done < segment.length; done += Piece::kLargest) {
      pieces_.push_back({segment.flat + done, segment.state + done, std::min(Piece::kLargest, segment.length - done),
                         role.group, role.flags});
    }
  }
}

void PieceTable::allocate(Arena& arena) {
  tensor_ = arena.take({static_cast<std::int64_t>(pieces_.size()), Piece::kWords}, DType::i64, "tables");
  if (tensor_.present()) upload_bytes(std::as_bytes(std::span<const Piece>(pieces_)), tensor_);
}

}  // namespace headroom
