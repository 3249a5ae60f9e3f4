#include "analysis/snapshot_tap.h"

#include <algorithm>
#include <cstring>

#include "analysis/attention_probe.h"
#include "analysis/statistics.h"
#include "tensor/transfer.h"

namespace headroom {
namespace {

template <class T>
std::vector<float> as_floats(std::span<const T> values) {
  std::vector<float> out(values.size());
  std::transform(values.begin(), values.end(), out.begin(), [](T value) { return static_cast<float>(value); });
  return out;
}

// Every rank's rows, in rank order, which is the order of the rows, on `root`; empty elsewhere.
template <class T>
std::vector<T> gather_rows(const Tensor& rows, std::int64_t first_row, Communicator& tensor, int root) {
  const std::vector<T> own = download_as<T>(rows);
  HEADROOM_CHECK(first_row == rows.rows() * tensor.rank(), "tensor rank {} shows {} rows from row {}", tensor.rank(),
                 rows.rows(), first_row);
  if (tensor.size() == 1) return own;
  std::vector<T> all;
  for (const std::vector<std::byte>& message : tensor.gather_bytes(std::as_bytes(std::span<const T>(own)), root)) {
    const std::size_t before = all.size();
    all.resize(before + message.size() / sizeof(T));
    if (!message.empty()) std::memcpy(all.data() + before, message.data(), message.size());
  }
  return all;
}

bool has_raw(Site site) {
  return site == Site::block_output || site == Site::embedding_output;
}

}  // namespace

SnapshotTap::SnapshotTap(Communicator& tensor, std::int64_t heads, std::int64_t top_k)
    : tensor_(tensor), heads_(heads), top_k_(top_k) {}

void SnapshotTap::begin_sequence(std::int64_t index, const ProbeSequence& sequence) {
  sequence_ = index;
  tokens_ = static_cast<std::int64_t>(sequence.ids.size());
  keep_raw_ = sequence.kind == ProbeKind::sentence;
}

void SnapshotTap::hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row) {
  HEADROOM_CHECK(sequence_ >= 0, "a forward before begin_sequence");
  if (rows.dtype() == DType::f64) {
    keep_hidden<double>(site, layer, rows, first_row);
  } else {
    keep_hidden<float>(site, layer, rows, first_row);
  }
}

template <class T>
void SnapshotTap::keep_hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row) {
  const int root = turn_;
  turn_ = (turn_ + 1) % tensor_.size();
  const std::vector<T> all = gather_rows<T>(rows, first_row, tensor_, root);
  if (tensor_.rank() != root) return;
  const std::int64_t channels = rows.columns();
  HEADROOM_CHECK(static_cast<std::int64_t>(all.size()) >= tokens_ * channels, "{} numbers for {} tokens", all.size(),
                 tokens_);
  const std::span<const T> real(all.data(), static_cast<std::size_t>(tokens_ * channels));
  HiddenPart& part = parts_.hidden.emplace_back();
  part.site = site;
  part.layer = layer;
  part.sequence = sequence_;
  part.statistics = hidden_statistics(real, tokens_, channels, top_k_);
  if (keep_raw_ && has_raw(site)) part.raw = as_floats(real);
}

void SnapshotTap::attention(std::int64_t layer, const AttentionView& view) {
  HEADROOM_CHECK(sequence_ >= 0, "a forward before begin_sequence");
  HEADROOM_CHECK(view.shape.batch == 1 && view.shape.seq >= tokens_, "attention over {} sequences of {} for one of {}",
                 view.shape.batch, view.shape.seq, tokens_);
  if (view.qkv.dtype() == DType::f64) {
    keep_attention<double>(layer, view);
  } else {
    keep_attention<float>(layer, view);
  }
}

template <class T>
void SnapshotTap::keep_attention(std::int64_t layer, const AttentionView& view) {
  const std::int64_t stride = view.shape.seq;
  const std::size_t bytes = static_cast<std::size_t>(stride * stride) * sizeof(T);
  if (probabilities_.bytes() < bytes) {
    probabilities_ = Buffer(bytes, view.qkv.device(), "attention maps of a snapshot");
  }
  const Tensor map = probabilities_.tensor({stride, stride}, dtype_of<T>());
  for (std::int64_t local = 0; local < view.shape.n_heads && view.first_head + local < heads_; ++local) {
    ops::attention_probabilities(view.qkv, view.lse, view.shape, 0, local, map);
    const std::vector<T> numbers = download<T>(map);
    const std::span<const T> probabilities(numbers);
    std::vector<T> masses;
    if (view.bias_mass.present()) masses = download<T>(view.bias_mass.flat_range(local * stride, tokens_));
    const std::span<const T> bias(masses);
    HeadPart& part = parts_.heads.emplace_back();
    part.layer = layer;
    part.sequence = sequence_;
    part.head = view.first_head + local;
    part.masses = head_masses(probabilities, stride, tokens_, bias);
    if (!keep_raw_) continue;
    for (std::int64_t query = 0; query < tokens_; ++query) {
      const auto row =
          as_floats(probabilities.subspan(static_cast<std::size_t>(query * stride), static_cast<std::size_t>(tokens_)));
      part.map.insert(part.map.end(), row.begin(), row.end());
    }
    part.bias = as_floats(bias);
  }
}

}  // namespace headroom
