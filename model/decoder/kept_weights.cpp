#include "model/decoder/kept_weights.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "model/decoder/room.h"
#include "tensor/memory.h"

namespace headroom::decoder {
namespace {

constexpr std::int64_t kHeadRows = 8192;  // that are asked for at a time

std::vector<Tensor*> tensors_of(LayerWeights& layer) {
  std::vector<Tensor*> all = {&layer.bias_key, &layer.bias_value};
  for (NormWeights* norm : {&layer.attention_norm, &layer.attention_output_norm, &layer.q_norm, &layer.k_norm,
                            &layer.mlp_norm, &layer.mlp_output_norm}) {
    all.insert(all.end(), {&norm->weight, &norm->bias, &norm->alpha});
  }
  for (LinearWeights* linear : {&layer.qkv, &layer.output, &layer.up, &layer.down}) {
    all.insert(all.end(), {&linear->weight, &linear->bias});
  }
  return all;
}

class KeptWeights final : public WeightSource {
 public:
  KeptWeights(std::unique_ptr<WeightSource> source, const Config& config, std::int64_t limit)
      : source_(std::move(source)), config_(config), left_(limit), layers_(static_cast<std::size_t>(config.n_layers)) {}

  const OuterWeights& outer() override { return source_->outer(); }
  void embed(std::span<const std::int32_t> ids, Tensor y) override { source_->embed(ids, y); }

  const LayerWeights& layer(std::int64_t number) override {
    std::optional<Kept>& kept = layers_[static_cast<std::size_t>(number)];
    if (!kept) {
      const LayerWeights& weights = source_->layer(number);
      kept = copy(weights);
      if (!kept) return weights;
    }
    return kept->weights;
  }

  Tensor head(std::int64_t first, std::int64_t count) override {
    if (head_.bytes() == 0 && !copy_head()) return source_->head(first, count);
    return head_.tensor({config_.vocab_size, config_.embedding_size}, DType::f32).row_range(first, count);
  }

 private:
  struct Kept {
    Room room;
    LayerWeights weights;
  };

  // What stays where it is needs no copy.
  std::optional<Kept> copy(const LayerWeights& from) {
    LayerWeights weights = from;
    std::vector<Tensor*> moving;
    std::int64_t bytes = 0;
    for (Tensor* tensor : tensors_of(weights)) {
      if (!tensor->present() || source_->stays(*tensor)) continue;
      moving.push_back(tensor);
      bytes += tensor->elements() * static_cast<std::int64_t>(sizeof(float));
    }
    if (bytes > left_) {
      left_ = 0;  // those that come later would only take their place
      return {};
    }
    left_ -= bytes;
    std::optional<Kept> kept(std::in_place);
    kept->room.fill([&] {
      weights = from;
      for (Tensor* tensor : moving) {
        float* to = kept->room.take(tensor->elements());
        if (to != nullptr) std::copy_n(tensor->data<float>(), tensor->elements(), to);
        *tensor = Tensor(to, tensor->shape(), DType::f32);
      }
    });
    kept->weights = weights;
    return kept;
  }

  // False where there is no room for it, or no need.
  bool copy_head() {
    const std::int64_t vocab = config_.vocab_size;
    const std::int64_t bytes = vocab * config_.embedding_size * static_cast<std::int64_t>(sizeof(float));
    if (bytes > left_) return false;
    Tensor rows = source_->head(0, std::min(kHeadRows, vocab));
    if (source_->stays(rows)) return false;
    left_ -= bytes;
    head_ = Buffer(static_cast<std::size_t>(bytes), Device::cpu, "the head");
    float* to = std::copy_n(rows.data<float>(), rows.elements(), static_cast<float*>(head_.data()));
    for (std::int64_t row = rows.rows(); row < vocab; row += rows.rows()) {
      rows = source_->head(row, std::min(kHeadRows, vocab - row));
      to = std::copy_n(rows.data<float>(), rows.elements(), to);
    }
    return true;
  }

  std::unique_ptr<WeightSource> source_;
  const Config config_;
  std::int64_t left_;  // bytes
  std::vector<std::optional<Kept>> layers_;
  Buffer head_;
};

}  // namespace

std::unique_ptr<WeightSource> keep_weights(std::unique_ptr<WeightSource> source, const Config& config,
                                           std::int64_t limit) {
  return std::make_unique<KeptWeights>(std::move(source), config, limit);
}

}  // namespace headroom::decoder
