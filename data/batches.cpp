#include "data/batches.h"

#include <zlib.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"

namespace headroom {
namespace {

Batch empty_batch(std::int64_t count, std::int64_t seq_len) {
  HEADROOM_CHECK(count > 0 && seq_len > 0, "a batch of {} x {}", count, seq_len);
  Batch batch;
  batch.batch = count;
  batch.seq = seq_len;
  batch.ids.assign(static_cast<std::size_t>(count * seq_len), 0);
  batch.targets.assign(static_cast<std::size_t>(count * seq_len), -1);
  return batch;
}

// Puts a window of up to seq_len + 1 tokens into row `row`: all but the last are ids, all but the first targets. What a
// short window leaves stays id 0 with target -1.
void set_row(Batch& batch, std::int64_t row, std::span<const std::int32_t> window) {
  std::copy(window.begin(), window.end() - 1, batch.ids.begin() + row * batch.seq);
  std::copy(window.begin() + 1, window.end(), batch.targets.begin() + row * batch.seq);
}

}  // namespace

SampleOrder::SampleOrder(const TokenFile& tokens, std::int64_t seq_len, std::uint64_t seed)
    : samples_((tokens.size() - 1) / static_cast<std::uint64_t>(seq_len)), seq_len_(seq_len), seed_(seed) {
  if (samples_ == 0) {
    throw Error(
        ExitCode::bad_data,
        fmt::format("{}: {} tokens are less than one window of {} + 1", tokens.path().string(), tokens.size(), seq_len),
        "Use more text or a smaller model.seq_len.");
  }
}

std::uint64_t SampleOrder::window(std::uint64_t index) const {
  const RandomPermutation permutation(samples_, seed_, fmt::format("data-order/epoch-{}", index / samples_));
  return permutation(index % samples_) * static_cast<std::uint64_t>(seq_len_);
}

Batch read_batch(const TokenFile& tokens, const SampleOrder& order, std::uint64_t first, std::int64_t count,
                 std::int64_t seq_len, std::int64_t vocab_size) {
  Batch batch = empty_batch(count, seq_len);
  std::vector<std::int32_t> window(static_cast<std::size_t>(seq_len) + 1);
  for (std::int64_t row = 0; row < count; ++row) {
    tokens.read(order.window(first + static_cast<std::uint64_t>(row)), window, vocab_size);
    set_row(batch, row, window);
  }
  return batch;
}

std::uint32_t batch_crc(const Batch& batch, std::uint32_t crc) {
  return static_cast<std::uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(batch.ids.data()), batch.ids.size() * sizeof batch.ids[0]));
}

std::uint32_t combine_crc(std::uint32_t first, std::uint32_t second, std::uint64_t second_ids) {
  const auto bytes = static_cast<z_off_t>(second_ids * sizeof(std::int32_t));
  return static_cast<std::uint32_t>(crc32_combine(first, second, bytes));
}

HeldOut::HeldOut(const TokenFile& tokens, std::int64_t seq_len, std::uint64_t limit)
    : tokens_(tokens), seq_len_(seq_len) {
  HEADROOM_CHECK(seq_len > 0, "windows of {} tokens", seq_len);
  if (tokens.size() < 2) {
    throw Error(
        ExitCode::bad_data,
        fmt::format("{}: {} token cannot be evaluated: a prediction needs two", tokens.path().string(), tokens.size()),
        "Hold out more text.");
  }
  const auto stride = static_cast<std::uint64_t>(seq_len);
  available_ = (tokens.size() - 2) / stride + 1;
  windows_ = limit == 0 ? available_ : std::min(limit, available_);
}

Batch HeldOut::read(std::uint64_t first, std::int64_t count, std::int64_t vocab_size) const {
  Batch batch = empty_batch(count, seq_len_);
  std::vector<std::int32_t> window;
  for (std::int64_t row = 0; row < count; ++row) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(row);
    if (index >= windows_) break;
    // Evenly spread: window `index` of `windows_` is number index * available / windows. The product of two counts of
    // windows can pass 64 bits only beyond any file.
    const std::uint64_t begin = index * available_ / windows_ * static_cast<std::uint64_t>(seq_len_);
    window.resize(std::min<std::uint64_t>(static_cast<std::uint64_t>(seq_len_) + 1, tokens_.size() - begin));
    tokens_.read(begin, window, vocab_size);
    set_row(batch, row, window);
  }
  return batch;
}

}  // namespace headroom
