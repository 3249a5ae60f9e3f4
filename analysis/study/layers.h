// What a layer puts out, who wrote it, and how its heads attend.
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
  // The largest that attention and the feed-forward add to the residual stream, averaged over sequences.
  double attention_top = 0.0;
  double mlp_top = 0.0;

  double ratio() const { return top[0] / median; }
  // The averaged figures pass both tests.
  bool massive(const Options& options) const;

  // Of its attention: shares of heads whose queries give more than Options::sink to the first key, to some other, and
  // to a KV bias' slot.
  double first_sinks = 0.0;
  double other_sinks = 0.0;
  double slot_sinks = 0.0;
  std::vector<float> attention;  // [64, 64] of the first sequence, over heads; zero where it is shorter
};

// Massive elements of sequences [first, first + count), in their order; numbered from 0.
std::vector<Element> elements_of(const decoder::States& states, std::size_t first, std::size_t count,
                                 const Options& options);

// Fills the figures of a layer's output, its massive elements among them. Throws ExitCode::diverged naming layer and
// sequence for numbers that are not finite.
void describe(const decoder::States& states, std::int64_t number, const Options& options, Layer& layer);

// Of massive elements, each in the direction it points: what came from where, summed. What the layer found there is
// the rest.
struct Writers {
  double all = 0.0;
  double attention = 0.0;
  double mlp = 0.0;
};

// Watches the detection sequences' way through the layers. Sinks and maps are looked for among the first tokens of
// each, which attend to nothing behind them, so that theirs is the attention of a sequence that ends there.
class Watcher final : public decoder::Tap {
 public:
  // One of `layers` for each of the model's. All outlive the tap.
  Watcher(const Options& options, const decoder::States& states, std::vector<Layer>& layers);

  void hidden(Site site, std::int64_t number, std::size_t sequence, const Tensor& rows) override;
  void attention(std::int64_t number, std::size_t sequence, const AttentionView& view) override;
  // When all sequences have been through the layer: completes its figures.
  void finish(std::int64_t number);
  // Of elements of the layer that was finished last, as they are in its output.
  Writers writers(const std::vector<Element>& elements) const;

 private:
  // The mean over queries i >= key of what they give to it.
  double received(std::int64_t key, std::int64_t tokens) const;
  void count_sinks(std::int64_t tokens, Layer& layer);
  void add_map(std::int64_t tokens, float heads, Layer& layer) const;

  const Options& options_;
  const decoder::States& states_;
  std::vector<Layer>& layers_;
  // What attention and feed-forward add, of all sequences.
  decoder::States attention_;
  decoder::States mlp_;
  std::vector<float> lse_;            // [heads, tokens] of what is looked at
  std::vector<float> probabilities_;  // [tokens, tokens] of one head
  std::int64_t heads_ = 0;
};

}  // namespace headroom::study
