// What becomes of the segments of an exchange: put in place, or reduced in rank order.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/exchange.h"

namespace headroom {

// Every rank's block has its place.
class GatherInbox final : public Inbox {
 public:
  // Rank r's block begins at places[r].
  GatherInbox(std::vector<std::byte*> places, std::int64_t segment_bytes)
      : places_(std::move(places)), segment_bytes_(segment_bytes) {}

  std::byte* place(int rank, std::int64_t segment) override {
    return places_[static_cast<std::size_t>(rank)] + segment * segment_bytes_;
  }
  void arrived(int, std::int64_t) override {}

 private:
  std::vector<std::byte*> places_;
  std::int64_t segment_bytes_;
};

// out = reduction over all ranks of their blocks, own block included. A segment is reduced when it has come from
// everyone; a few segments a peer are under way at a time, in scratch memory.
class ReduceInbox final : public Inbox {
 public:
  // `own` and `out` are `elements` long and may be the same.
  ReduceInbox(MpiGroup& group, Reduction reduction, DType type, const std::byte* own, std::byte* out,
              std::int64_t elements, std::int64_t segment_bytes);

  std::byte* place(int rank, std::int64_t segment) override;
  void arrived(int rank, std::int64_t segment) override;

  // Segments under way a peer.
  static constexpr std::int64_t kWindow = 4;

 private:
  std::byte* slot(int rank, std::int64_t segment) const;
  void reduce_segment(std::int64_t segment);

  Reduction reduction_;
  DType type_;
  int rank_;
  int size_;
  const std::byte* own_;
  std::byte* out_;
  std::int64_t bytes_;
  std::int64_t segment_bytes_;
  std::int64_t slots_;  // a peer: the window, or fewer if the block has fewer segments
  std::int64_t reduced_ = 0;
  std::vector<int> arrived_;  // by slot: from how many peers
  std::vector<const void*> sources_;
  ScratchPool::Loan scratch_;
};

}  // namespace headroom
