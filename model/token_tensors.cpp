#include "model/token_tensors.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "tensor/transfer.h"

namespace headroom {

TokenTensors TokenTensors::plan(Arena& arena, std::int64_t rows) {
  const auto take = [&](std::int64_t count) { return arena.take({count}, DType::i32, "tokens"); };
  TokenTensors tokens;
  tokens.ids = take(rows);
  tokens.targets = take(rows);
  tokens.groups = {take(rows), take(rows + 1)};
  return tokens;
}

TokenTensors TokenTensors::upload(std::span<const std::int32_t> new_ids,
                                  std::span<const std::int32_t> new_targets) const {
  std::vector<std::int32_t> rows(new_ids.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::stable_sort(rows.begin(), rows.end(), [&](std::int32_t a, std::int32_t b) {
    return new_ids[static_cast<std::size_t>(a)] < new_ids[static_cast<std::size_t>(b)];
  });
  std::vector<std::int32_t> starts;
  for (std::size_t at = 0; at < rows.size(); ++at) {
    const auto id = [&](std::size_t index) { return new_ids[static_cast<std::size_t>(rows[index])]; };
    if (at == 0 || id(at) != id(at - 1)) starts.push_back(static_cast<std::int32_t>(at));
  }
  starts.push_back(static_cast<std::int32_t>(rows.size()));

  TokenTensors filled = *this;
  filled.groups.starts = groups.starts.flat_range(0, static_cast<std::int64_t>(starts.size()));
  headroom::upload(new_ids, ids);
  headroom::upload(new_targets, targets);
  headroom::upload(std::span<const std::int32_t>(rows), groups.rows);
  headroom::upload(std::span<const std::int32_t>(starts), filled.groups.starts);
  return filled;
}

}  // namespace headroom
