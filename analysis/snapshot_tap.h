// Looks at one probe sequence after another as it goes through the model, and keeps what a snapshot needs.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/probe.h"
#include "analysis/snapshot_parts.h"
#include "model/tap.h"
#include "parallel/communicator.h"
#include "tensor/memory.h"

namespace headroom {

// Hidden states lie spread over the tensor ranks by rows: each call gathers one to one rank, taking turns, which
// computes its statistics while the others go on. Attention stays with the rank that has the head. So every call of
// `hidden` is collective over the tensor ranks.
class SnapshotTap : public ActivationTap {
 public:
  // `tensor`: the ranks that hold one model together; outlives the tap. `heads` of the model, padding not counted.
  SnapshotTap(Communicator& tensor, std::int64_t heads, std::int64_t top_k);

  // The sequence whose forward (batch 1) follows; index in the probe set. Rows and positions past its end, which pad it
  // to a length that divides by the ranks, are left out.
  void begin_sequence(std::int64_t index, const ProbeSequence& sequence);

  void hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row) override;
  void attention(std::int64_t layer, const AttentionView& view) override;

  // What this rank has kept so far.
  const SnapshotParts& parts() const { return parts_; }

 private:
  template <class T>
  void keep_hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row);
  template <class T>
  void keep_attention(std::int64_t layer, const AttentionView& view);

  Communicator& tensor_;
  std::int64_t heads_;
  std::int64_t top_k_;
  std::int64_t sequence_ = -1;
  std::int64_t tokens_ = 0;
  bool keep_raw_ = false;
  int turn_ = 0;
  Buffer probabilities_;
  SnapshotParts parts_;
};

}  // namespace headroom
