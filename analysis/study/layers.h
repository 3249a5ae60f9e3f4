// What a layer puts out, and how its heads attend.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/study/elements.h"
#include "model/decoder/decoder.h"

namespace headroom::study {

// A layer's output over the detection sequences.
struct Layer {
  double top[3] = {};  // |h|: each sequence's largest, second and third, averaged over sequences
  double median = 0.0;
  double rms = 0.0;
  double kurtosis = 0.0;
  std::vector<Element> elements;  // massive by themselves

  double ratio() const { return top[0] / median; }
  // The averaged figures pass both tests.
  bool massive(const Options& options) const;

  // Of its attention: shares of heads whose queries give more than Options::sink to the first key, and to some other.
  double first_sinks = 0.0;
  double other_sinks = 0.0;
  std::vector<float> attention;  // [64, 64] of the first sequence, over heads; zero where it is shorter
};

// Massive elements of all sequences, in their order.
std::vector<Element> elements_of(const decoder::States& states, const Options& options);

// Fills all of `layer` but its attention.
void describe(const decoder::States& states, const Options& options, Layer& layer);

// Watches a pass for attention sinks and maps: among the first tokens of each sequence, which attend to nothing behind
// them, so that it is the attention of a sequence that ends there.
class SinkTap final : public decoder::Tap {
 public:
  // One of `layers` for each of the model's. Both outlive the tap.
  SinkTap(const Options& options, std::vector<Layer>& layers) : options_(options), layers_(layers) {}

  void hidden(Site site, std::int64_t number, std::size_t sequence, const Tensor& rows) override;
  void attention(std::int64_t number, std::size_t sequence, const AttentionView& view) override;
  // When all sequences have been through the layer.
  void finish(std::int64_t number);

 private:
  // The mean over queries i >= key of what they give to it.
  double received(std::int64_t key, std::int64_t tokens) const;
  void count_sinks(std::int64_t tokens, Layer& layer);
  void add_map(std::int64_t tokens, float heads, Layer& layer) const;

  const Options& options_;
  std::vector<Layer>& layers_;
  std::vector<float> lse_;            // [heads, tokens] of what is looked at
  std::vector<float> probabilities_;  // [tokens, tokens] of one head
  std::int64_t heads_ = 0;
};

}  // namespace headroom::study
