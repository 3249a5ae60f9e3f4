#include "analysis/study/layers.h"

#include <algorithm>
#include <cmath>

#include "analysis/statistics.h"
#include "tensor/ops.h"

namespace headroom::study {

bool Layer::massive(const Options& options) const {
  return top[0] > options.absolute && ratio() >= options.ratio;
}

// Sequences are looked at side by side; sums and lists are made in their order, whatever the number of threads.
std::vector<Element> elements_of(const decoder::States& states, const Options& options) {
  std::vector<std::vector<Element>> found(states.count());
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < found.size(); ++i) {
    found[i] = massive_elements(states.of(i), static_cast<std::int32_t>(i), options);
  }
  std::vector<Element> all;
  for (const std::vector<Element>& own : found) all.insert(all.end(), own.begin(), own.end());
  return all;
}

void describe(const decoder::States& states, const Options& options, Layer& layer) {
  constexpr std::int64_t kTop = 3;
  std::vector<HiddenStatistics> all(states.count());
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Tensor h = states.of(i);
    all[i] = hidden_statistics(std::span<const float>(h.span<float>()), h.rows(), h.columns(), kTop);
  }
  const auto count = static_cast<double>(all.size());
  for (const HiddenStatistics& found : all) {
    for (std::size_t k = 0; k < found.top.size(); ++k) layer.top[k] += std::abs(found.top[k].value) / count;
    layer.median += found.median_abs / count;
    layer.rms += found.rms / count;
    layer.kurtosis += found.kurtosis / count;
  }
  layer.elements = elements_of(states, options);
}

void SinkTap::hidden(Site, std::int64_t, std::size_t, const Tensor&) {}

void SinkTap::attention(std::int64_t number, std::size_t sequence, const AttentionView& view) {
  Layer& layer = layers_[static_cast<std::size_t>(number)];
  AttentionShape shape = view.shape;
  shape.seq = std::min(shape.seq, kSinkTokens);
  const std::int64_t tokens = shape.seq;
  if (sequence == 0) {
    heads_ = 0;
    layer.attention.assign(static_cast<std::size_t>(kSinkTokens * kSinkTokens), 0.0F);
  }
  lse_.clear();
  for (std::int64_t head = 0; head < shape.n_heads; ++head) {
    const float* const row = view.lse.data<float>() + head * view.shape.seq;
    lse_.insert(lse_.end(), row, row + tokens);
  }
  probabilities_.resize(static_cast<std::size_t>(tokens * tokens));
  const Tensor qkv = view.qkv.row_range(0, tokens);
  const Tensor lse = Tensor::over(std::span(lse_), {shape.n_heads, tokens});
  const Tensor map = Tensor::over(std::span(probabilities_), {tokens, tokens});
  for (std::int64_t head = 0; head < shape.n_heads; ++head) {
    ops::attention_probabilities(qkv, lse, shape, 0, head, map);
    // A KV bias' slot has its own share of what the real keys would have got.
    count_sinks(tokens, layer);
    if (sequence == 0) add_map(tokens, static_cast<float>(shape.n_heads), layer);
  }
}

void SinkTap::finish(std::int64_t number) {
  Layer& layer = layers_[static_cast<std::size_t>(number)];
  layer.first_sinks /= static_cast<double>(heads_);
  layer.other_sinks /= static_cast<double>(heads_);
}

double SinkTap::received(std::int64_t key, std::int64_t tokens) const {
  double sum = 0.0;
  for (std::int64_t query = key; query < tokens; ++query) {
    sum += static_cast<double>(probabilities_[static_cast<std::size_t>(query * tokens + key)]);
  }
  return sum / static_cast<double>(tokens - key);
}

void SinkTap::count_sinks(std::int64_t tokens, Layer& layer) {
  ++heads_;
  if (received(0, tokens) > options_.sink) layer.first_sinks += 1.0;
  // The last keys have too few queries for a mean.
  constexpr std::int64_t kFewest = 8;
  for (std::int64_t key = 1; key + kFewest <= tokens; ++key) {
    if (received(key, tokens) <= options_.sink) continue;
    layer.other_sinks += 1.0;
    break;
  }
}

void SinkTap::add_map(std::int64_t tokens, float heads, Layer& layer) const {
  for (std::int64_t query = 0; query < tokens; ++query) {
    for (std::int64_t key = 0; key <= query; ++key) {
      layer.attention[static_cast<std::size_t>(query * kSinkTokens + key)] +=
          probabilities_[static_cast<std::size_t>(query * tokens + key)] / heads;
    }
  }
}

}  // namespace headroom::study
