// A pass's tokens on the model's device, and its rows by token id for the embedding's backward.
#pragma once

#include <span>

#include "tensor/memory.h"
#include "tensor/ops.h"

namespace headroom {

// Where a pass's tokens lie; cut once, filled pass by pass.
struct TokenTensors {
  Tensor ids;      // [R]
  Tensor targets;  // [R]
  TokenGroups groups;

  static TokenTensors plan(Arena& arena, std::int64_t rows);
  // Ids and targets of a pass.
  void upload_tokens(std::span<const std::int32_t> new_ids, std::span<const std::int32_t> new_targets) const;
  // The same tensors with the groups of these ids, all below `vocab_size`; starts has as many entries as there are
  // groups and one. Only the backward needs them, so a GPU computes the forward while the host sorts.
  TokenTensors with_groups(std::span<const std::int32_t> new_ids, std::int64_t vocab_size) const;
};

}  // namespace headroom
