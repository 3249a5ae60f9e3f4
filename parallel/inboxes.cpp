#include "parallel/inboxes.h"

#include <algorithm>

#include "parallel/rank_order.h"

namespace headroom {
namespace {

std::int64_t slots_for(std::int64_t bytes, std::int64_t segment_bytes) {
  return std::min(ReduceInbox::kWindow, (bytes + segment_bytes - 1) / segment_bytes);
}

}  // namespace

ReduceInbox::ReduceInbox(MpiGroup& group, Reduction reduction, DType type, const std::byte* own, std::byte* out,
                         std::int64_t elements, std::int64_t segment_bytes)
    : reduction_(reduction),
      type_(type),
      rank_(group.rank()),
      size_(group.size()),
      own_(own),
      out_(out),
      bytes_(elements * static_cast<std::int64_t>(size_of(type))),
      segment_bytes_(std::min(segment_bytes, bytes_)),
      slots_(bytes_ == 0 ? 0 : slots_for(bytes_, segment_bytes_)),
      arrived_(static_cast<std::size_t>(slots_), 0),
      sources_(static_cast<std::size_t>(size_)),
      scratch_(group.scratch(), static_cast<std::size_t>((size_ - 1) * slots_ * segment_bytes_)) {}

std::byte* ReduceInbox::slot(int rank, std::int64_t segment) const {
  const std::int64_t peer = rank < rank_ ? rank : rank - 1;
  return scratch_.data() + (peer * slots_ + segment % slots_) * segment_bytes_;
}

std::byte* ReduceInbox::place(int rank, std::int64_t segment) {
  return segment < reduced_ + slots_ ? slot(rank, segment) : nullptr;
}

void ReduceInbox::arrived(int, std::int64_t segment) {
  ++arrived_[static_cast<std::size_t>(segment % slots_)];
  // Segments may complete out of order; they are reduced in order, so that the window moves on.
  while (arrived_[static_cast<std::size_t>(reduced_ % slots_)] == size_ - 1) {
    arrived_[static_cast<std::size_t>(reduced_ % slots_)] = 0;
    reduce_segment(reduced_++);
  }
}

void ReduceInbox::reduce_segment(std::int64_t segment) {
  const std::int64_t begin = segment * segment_bytes_;
  const std::int64_t bytes = std::min(segment_bytes_, bytes_ - begin);
  for (int rank = 0; rank < size_; ++rank) {
    sources_[static_cast<std::size_t>(rank)] = rank == rank_ ? own_ + begin : slot(rank, segment);
  }
  reduce_in_order(reduction_, sources_, out_ + begin, bytes / static_cast<std::int64_t>(size_of(type_)), type_);
}

}  // namespace headroom
