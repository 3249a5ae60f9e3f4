// The forward pass of a decoder, layer by layer over all sequences at once: each layer's weights are asked for once,
// however many sequences there are, and no more than one layer's are in memory.
//
//   Decoder decoder(config, weights);
//   States states = decoder.embed(sequences);
//   for (std::int64_t layer = 0; layer < config.n_layers; ++layer) decoder.apply(layer, states, tap);
//   const States features = decoder.finish(states, tap);
//   decoder.each_logits(features, [&](const Decoder::LogitsBlock& block) { ... });
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/decoder/config.h"
#include "model/decoder/rope.h"
#include "model/decoder/states.h"
#include "model/decoder/weights.h"
#include "model/tap.h"

namespace headroom::decoder {

using Sequence = std::vector<std::int32_t>;

// Looks at what passes; of single sequences. Sites: model/tap.h.
class Tap {
 public:
  virtual ~Tap() = default;
  virtual void hidden(Site site, std::int64_t layer, std::size_t sequence, const Tensor& rows) = 0;
  virtual void attention(std::int64_t layer, std::size_t sequence, const AttentionView& view) = 0;
};

class Decoder {
 public:
  Decoder(Config config, std::unique_ptr<WeightSource> weights);

  const Config& config() const { return config_; }
  WeightSource& weights() { return *weights_; }

  // What enters the first layer. Throws ExitCode::bad_data for an empty sequence, an id outside the vocabulary, or more
  // tokens than learned positions.
  States embed(std::span<const Sequence> sequences);
  // One layer on all sequences, in place. The tap may be null.
  void apply(std::int64_t layer, States& states, Tap* tap);
  // What enters the head [rows, embedding_size]. The tap, which may be null, is shown the final norm's output.
  States finish(const States& states, Tap* tap);
  // All logits, some rows' and ids' at a time; every row's ids come in order. The block's tensor is the caller's to
  // change.
  struct LogitsBlock {
    std::int64_t first_row;
    std::int64_t first_id;
    Tensor logits;  // [rows, ids]
  };
  void each_logits(const States& features, const std::function<void(const LogitsBlock&)>& take);

 private:
  struct Scratch;  // of a group of sequences

  void attend(std::int64_t layer, const LayerWeights& weights, const Tensor& x, const States& states, std::size_t first,
              std::size_t last, Tap* tap, Tensor y);
  void feed_forward(const LayerWeights& weights, const Tensor& x, Tensor y);
  void norm(const NormWeights& weights, const Tensor& x, Tensor y);
  void norm_in_place(const NormWeights& weights, Tensor x) const;
  void apply_to(std::int64_t layer, const LayerWeights& weights, States& states, std::size_t first, std::size_t last,
                Tap* tap);
  void prepare_ropes(std::int64_t positions);

  Config config_;
  std::unique_ptr<WeightSource> weights_;
  std::vector<RopeTable> ropes_;
  std::int64_t rope_positions_ = 0;
  Buffer ones_;  // the weight of norms that have none
  std::unique_ptr<Scratch> scratch_;

 public:
  ~Decoder();
};

}  // namespace headroom::decoder
