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
  // The same tensors for these tokens: starts has as many entries as there are groups.
  TokenTensors upload(std::span<const std::int32_t> ids, std::span<const std::int32_t> targets) const;
};

}  // namespace headroom
