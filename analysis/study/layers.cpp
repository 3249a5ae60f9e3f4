#include "analysis/study/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/statistics.h"
#include "base/error.h"
#include "tensor/ops.h"

namespace headroom::study {
namespace {

float largest(std::span<const float> values) {
  const float* const numbers = values.data();
  float most = 0.0F;
#pragma omp simd reduction(max : most)
  for (std::size_t i = 0; i < values.size(); ++i) most = std::max(most, std::abs(numbers[i]));
  return most;
}

// Of one sequence's output.
struct Figures {
  double top[3] = {};
  double median = 0.0;
  double rms = 0.0;
  double kurtosis = 0.0;
  bool finite = true;
};

Figures figures_of(const Tensor& h) {
  Figures found;
  const std::span<const float> values = h.span<float>();
  const auto width = static_cast<std::size_t>(h.columns());
  std::vector<double> squares(width, 0.0);  // of channels
  for (std::size_t begin = 0; begin < values.size(); begin += width) {
    const std::span<const float> row = values.subspan(begin, width);
#pragma omp simd
    for (std::size_t c = 0; c < width; ++c) squares[c] += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    // Few rows have one of the largest.
    if (!(static_cast<double>(largest(row)) > found.top[2])) continue;
    for (const float value : row) {
      const auto magnitude = static_cast<double>(std::abs(value));
      if (magnitude <= found.top[2]) continue;
      found.top[2] = magnitude;
      std::sort(std::begin(found.top), std::end(found.top), std::greater<>());
    }
  }
  double sum = 0.0;
  double fourth = 0.0;
  for (const double square : squares) {
    sum += square;
    fourth += square * square;
  }
  found.finite = std::isfinite(sum);
  if (!found.finite) return found;
  found.median = median_magnitude(values);
  found.rms = std::sqrt(sum / static_cast<double>(values.size()));
  found.kurtosis = fourth * static_cast<double>(width) / (sum * sum);
  return found;
}

double mean_largest(const decoder::States& states) {
  std::vector<float> found(states.count());
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < found.size(); ++i) found[i] = largest(states.of(i).span<float>());
  double sum = 0.0;
  for (const float one : found) sum += static_cast<double>(one);
  return sum / static_cast<double>(found.size());
}

std::vector<std::int64_t> lengths_of(const decoder::States& states) {
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < states.count(); ++i) lengths.push_back(states.length(i));
  return lengths;
}

}  // namespace

bool Layer::massive(const Options& options) const {
  return top[0] > options.absolute && ratio() >= options.ratio;
}

// Sequences are looked at side by side; sums and lists are made in their order, whatever the number of threads.
std::vector<Element> elements_of(const decoder::States& states, std::size_t first, std::size_t count,
                                 const Options& options) {
  std::vector<std::vector<Element>> found(count);
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < count; ++i) {
    found[i] = massive_elements(states.of(first + i), static_cast<std::int32_t>(i), options);
  }
  std::vector<Element> all;
  for (const std::vector<Element>& own : found) all.insert(all.end(), own.begin(), own.end());
  return all;
}

void describe(const decoder::States& states, std::int64_t number, const Options& options, Layer& layer) {
  std::vector<Figures> all(states.count());
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = figures_of(states.of(i));
  const auto count = static_cast<double>(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Figures& found = all[i];
    if (!found.finite) {
      throw Error(ExitCode::diverged,
                  fmt::format("layer {} puts out numbers that are not finite, in detection sequence {}", number, i),
                  "The model is damaged, or cannot be computed in float32.");
    }
    for (std::size_t k = 0; k < std::size(found.top); ++k) layer.top[k] += found.top[k] / count;
    layer.median += found.median / count;
    layer.rms += found.rms / count;
    layer.kurtosis += found.kurtosis / count;
  }
  layer.elements = elements_of(states, 0, states.count(), options);
}

Watcher::Watcher(const Options& options, const decoder::States& states, std::vector<Layer>& layers)
    : options_(options),
      states_(states),
      layers_(layers),
      attention_(lengths_of(states), states.width()),
      mlp_(lengths_of(states), states.width()) {}

void Watcher::hidden(Site site, std::int64_t, std::size_t sequence, const Tensor& rows) {
  if (site == Site::attention_output) ops::copy(rows, attention_.of(sequence));
  if (site == Site::mlp_output) ops::copy(rows, mlp_.of(sequence));
}

void Watcher::attention(std::int64_t number, std::size_t sequence, const AttentionView& view) {
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
    if (!view.bias_mass.present()) continue;
    const float* const mass = view.bias_mass.data<float>() + head * view.shape.seq;
    double sum = 0.0;
    for (std::int64_t query = 0; query < tokens; ++query) sum += static_cast<double>(mass[query]);
    if (sum / static_cast<double>(tokens) > options_.sink) layer.slot_sinks += 1.0;
  }
  probabilities_.resize(static_cast<std::size_t>(tokens * tokens));
  const Tensor qkv = view.qkv.row_range(0, tokens);
  const Tensor lse = Tensor::over(std::span(lse_), {shape.n_heads, tokens});
  const Tensor map = Tensor::over(std::span(probabilities_), {tokens, tokens});
  for (std::int64_t head = 0; head < shape.n_heads; ++head) {
    ops::attention_probabilities(qkv, lse, shape, 0, head, map);
    count_sinks(tokens, layer);
    if (sequence == 0) add_map(tokens, static_cast<float>(shape.n_heads), layer);
  }
}

void Watcher::finish(std::int64_t number) {
  Layer& layer = layers_[static_cast<std::size_t>(number)];
  for (double* const share : {&layer.first_sinks, &layer.other_sinks, &layer.slot_sinks}) {
    *share /= static_cast<double>(heads_);
  }
  layer.attention_top = mean_largest(attention_);
  layer.mlp_top = mean_largest(mlp_);
}

Writers Watcher::writers(const std::vector<Element>& elements) const {
  Writers found;
  for (const Element& element : elements) {
    const auto part = [&](const decoder::States& of) {
      const Tensor rows = of.of(static_cast<std::size_t>(element.sequence));
      const auto value = static_cast<double>(rows.data<float>()[element.position * rows.columns() + element.channel]);
      return element.value < 0.0F ? -value : value;
    };
    found.all += static_cast<double>(std::abs(element.value));
    found.attention += part(attention_);
    found.mlp += part(mlp_);
  }
  return found;
}

double Watcher::received(std::int64_t key, std::int64_t tokens) const {
  double sum = 0.0;
  for (std::int64_t query = key; query < tokens; ++query) {
    sum += static_cast<double>(probabilities_[static_cast<std::size_t>(query * tokens + key)]);
  }
  return sum / static_cast<double>(tokens - key);
}

void Watcher::count_sinks(std::int64_t tokens, Layer& layer) {
  ++heads_;
  if (received(0, tokens) > options_.sink) layer.first_sinks += 1.0;
  for (std::int64_t key = 1; key + kFewestQueries <= tokens; ++key) {
    if (received(key, tokens) <= options_.sink) continue;
    layer.other_sinks += 1.0;
    break;
  }
}

void Watcher::add_map(std::int64_t tokens, float heads, Layer& layer) const {
  for (std::int64_t query = 0; query < tokens; ++query) {
    for (std::int64_t key = 0; key <= query; ++key) {
      layer.attention[static_cast<std::size_t>(query * kSinkTokens + key)] +=
          probabilities_[static_cast<std::size_t>(query * tokens + key)] / heads;
    }
  }
}

}  // namespace headroom::study
