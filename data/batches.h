// Which tokens train at which step: a pure function of (seed, epoch, global sample index), so that any layout and any
// resumed run reads the same data.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/corpus.h"

namespace headroom {

// A micro-batch: ids[b, t] is followed by targets[b, t]; -1 in targets is not counted.
struct Batch {
  std::int64_t batch = 0;
  std::int64_t seq = 0;
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> targets;
};

// The order of training samples. Sample i of an epoch is the window of seq_len + 1 tokens that begins at
// permutation_epoch(i) * seq_len.
class SampleOrder {
 public:
  // Throws ExitCode::bad_data when the file has less than one window. seq_len > 0.
  SampleOrder(const TokenFile& tokens, std::int64_t seq_len, std::uint64_t seed);

  std::uint64_t samples_per_epoch() const { return samples_; }
  // First token of global sample `index` (counted over epochs from the start of training).
  std::uint64_t window(std::uint64_t index) const;

 private:
  std::uint64_t samples_;
  std::int64_t seq_len_;
  std::uint64_t seed_;
};

// Reads global samples [first, first + count) as a micro-batch.
Batch read_batch(const TokenFile& tokens, const SampleOrder& order, std::uint64_t first, std::int64_t count,
                 std::int64_t seq_len, std::int64_t vocab_size);

// CRC-32 (zlib's) of a batch's ids, continuing from `crc`: ranks' micro-batches in global order give the step's.
std::uint32_t batch_crc(const Batch& batch, std::uint32_t crc = 0);

// CRC of the concatenation A+B from crc(A), crc(B) and B's length in ids.
std::uint32_t combine_crc(std::uint32_t first, std::uint32_t second, std::uint64_t second_ids);

// The held-out split cut into consecutive windows of seq_len + 1 tokens (stride seq_len), at most `limit` of them
// (0: all), evenly spread over the file: every token but the first is a target once. The last window may be short (id
// 0, target -1). Keeps a reference to `tokens`.
class HeldOut {
 public:
  HeldOut(const TokenFile& tokens, std::int64_t seq_len, std::uint64_t limit);
  std::uint64_t windows() const { return windows_; }
  // Windows [first, first + count); those past the end are filled with id 0 and target -1.
  Batch read(std::uint64_t first, std::int64_t count, std::int64_t vocab_size) const;

 private:
  const TokenFile& tokens_;
  std::int64_t seq_len_;
  std::uint64_t windows_;
  std::uint64_t available_;  // windows in the whole file
};

}  // namespace headroom
