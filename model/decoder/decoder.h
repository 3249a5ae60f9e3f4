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
#include "model/decoder/key_value_cache.h"
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
  ~Decoder();

  const Config& config() const { return config_; }
  WeightSource& weights() { return *weights_; }
  // From now on weights stay in memory once they were asked for, up to `limit` bytes (model/decoder/kept_weights.h).
  void keep_weights(std::int64_t limit);

  // What enters the first layer. Throws ExitCode::bad_data for an empty sequence, an id outside the vocabulary, or more
  // tokens than learned positions. `first`: the position of the first token.
  States embed(std::span<const Sequence> sequences, std::int64_t first = 0);
  // One layer on all sequences, in place. The tap may be null.
  void apply(std::int64_t layer, States& states, Tap* tap);
  // The same on the newest tokens of one sequence, whose keys and values go behind those that the cache has.
  void apply(std::int64_t layer, States& states, KeyValueCache& cache);
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
  // What is beside the computation of a group; both may be null.
  struct Watch {
    Tap* tap = nullptr;
    KeyValueCache* cache = nullptr;  // then the group is one sequence
  };

  void attend(std::int64_t layer, const LayerWeights& weights, const Tensor& x, const States& states, std::size_t first,
              std::size_t last, const Watch& watch, Tensor y);
  // Attention of a sequence over itself, or over what a cache has of it.
  void attend_to(std::int64_t layer, const LayerWeights& weights, const AttentionShape& shape, const Tensor& qkv,
                 KeyValueCache* cache, Tensor out, Tensor lse, Tensor mass);
  void feed_forward(const LayerWeights& weights, const Tensor& x, Tensor y);
  void norm(const NormWeights& weights, const Tensor& x, Tensor y);
  void norm_in_place(const NormWeights& weights, Tensor x) const;
  void apply_to(std::int64_t layer, const LayerWeights& weights, States& states, std::size_t first, std::size_t last,
                const Watch& watch);
  void prepare_ropes(std::int64_t positions);
  // Of a sequence that has so many tokens by now.
  const RopeTable& rope_table(int rope, std::int64_t length) const;

  Config config_;
  std::unique_ptr<WeightSource> weights_;
  std::vector<RopeTable> ropes_;
  std::vector<RopeTable> long_ropes_;  // of those with other angles in long sequences, else empty
  std::int64_t rope_positions_ = 0;
  Buffer ones_;  // the weight of norms that have none
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace headroom::decoder
