#include "model/token_tensors.h"

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

void TokenTensors::upload_tokens(std::span<const std::int32_t> new_ids,
                                 std::span<const std::int32_t> new_targets) const {
  upload(new_ids, ids);
  upload(new_targets, targets);
}

TokenTensors TokenTensors::with_groups(std::span<const std::int32_t> new_ids, std::int64_t vocab_size) const {
  // Counting sort: where each id's rows begin, then every row to its place.
  std::vector<std::int32_t> next(static_cast<std::size_t>(vocab_size) + 1, 0);
  for (const std::int32_t id : new_ids) ++next.at(static_cast<std::size_t>(id) + 1);
  std::vector<std::int32_t> starts;
  for (std::size_t id = 0; id < static_cast<std::size_t>(vocab_size); ++id) {
    if (next[id + 1] > 0) starts.push_back(next[id]);
    next[id + 1] += next[id];
  }
  starts.push_back(static_cast<std::int32_t>(new_ids.size()));
  std::vector<std::int32_t> rows(new_ids.size());
  for (std::size_t row = 0; row < new_ids.size(); ++row) {
    rows[static_cast<std::size_t>(next[static_cast<std::size_t>(new_ids[row])]++)] = static_cast<std::int32_t>(row);
  }

  TokenTensors filled = *this;
  filled.groups.starts = groups.starts.flat_range(0, static_cast<std::int64_t>(starts.size()));
  upload(std::span<const std::int32_t>(rows), groups.rows);
  upload(std::span<const std::int32_t>(starts), filled.groups.starts);
  return filled;
}

}  // namespace headroom
