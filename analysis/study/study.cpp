#include "analysis/study/study.h"

#include <algorithm>
#include <cmath>

#include "analysis/statistics.h"

namespace headroom::study {
namespace {

constexpr double kDestroyed = 10.0;
constexpr double kHigh = 100.0;
constexpr double kMedium = 2.0;

// Watches the attention of short sequences, whose maps are whole.
class SinkTap final : public decoder::Tap {
 public:
  SinkTap(const Options& options, std::vector<Layer>& layers) : options_(options), layers_(layers) {}

  void hidden(Site, std::int64_t, std::size_t, const Tensor&) override {}

  void attention(std::int64_t number, std::size_t sequence, const AttentionView& view) override {
    Layer& layer = layers_[static_cast<std::size_t>(number)];
    const std::int64_t tokens = view.shape.seq;
    if (sequence == 0) {
      heads_ = 0;
      layer.attention.assign(static_cast<std::size_t>(kSinkTokens * kSinkTokens), 0.0F);
    }
    probabilities_.resize(static_cast<std::size_t>(tokens * tokens));
    const Tensor map = Tensor::over(std::span(probabilities_), {tokens, tokens});
    for (std::int64_t head = 0; head < view.shape.n_heads; ++head) {
      ops::attention_probabilities(view.qkv, view.lse, view.shape, 0, head, map);
      // A KV bias' slot has its own share of what the real keys would have got.
      count_sinks(tokens, layer);
      if (sequence == 0) add_map(tokens, static_cast<float>(view.shape.n_heads), layer);
    }
  }

  // When all sequences have been through the layer.
  void finish(std::int64_t number) {
    Layer& layer = layers_[static_cast<std::size_t>(number)];
    layer.first_sinks /= static_cast<double>(heads_);
    layer.other_sinks /= static_cast<double>(heads_);
  }

 private:
  // The mean over queries i >= k of what they give to key k.
  double received(std::int64_t key, std::int64_t tokens) const {
    double sum = 0.0;
    for (std::int64_t query = key; query < tokens; ++query) {
      sum += static_cast<double>(probabilities_[static_cast<std::size_t>(query * tokens + key)]);
    }
    return sum / static_cast<double>(tokens - key);
  }

  void count_sinks(std::int64_t tokens, Layer& layer) {
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

  void add_map(std::int64_t tokens, float heads, Layer& layer) {
    for (std::int64_t query = 0; query < tokens; ++query) {
      for (std::int64_t key = 0; key <= query; ++key) {
        layer.attention[static_cast<std::size_t>(query * kSinkTokens + key)] +=
            probabilities_[static_cast<std::size_t>(query * tokens + key)] / heads;
      }
    }
  }

  const Options& options_;
  std::vector<Layer>& layers_;
  std::vector<float> probabilities_;
  std::int64_t heads_ = 0;
};

std::vector<decoder::Sequence> prefixes(const std::vector<decoder::Sequence>& sequences) {
  std::vector<decoder::Sequence> short_ones;
  for (const decoder::Sequence& ids : sequences) {
    const auto length = std::min<std::ptrdiff_t>(kSinkTokens, std::ssize(ids));
    short_ones.emplace_back(ids.begin(), ids.begin() + length);
  }
  return short_ones;
}

std::vector<Element> elements_of(const decoder::States& states, const Options& options) {
  std::vector<Element> all;
  for (std::size_t i = 0; i < states.count(); ++i) {
    const auto found = massive_elements(states.of(i), static_cast<std::int32_t>(i), options);
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

void describe(const decoder::States& states, const Options& options, Layer& layer) {
  constexpr std::int64_t kTop = 3;
  const auto count = static_cast<double>(states.count());
  for (std::size_t i = 0; i < states.count(); ++i) {
    const Tensor h = states.of(i);
    const HiddenStatistics found =
        hidden_statistics(std::span<const float>(h.span<float>()), h.rows(), h.columns(), kTop);
    for (std::size_t k = 0; k < found.top.size(); ++k) layer.top[k] += std::abs(found.top[k].value) / count;
    layer.median += found.median_abs / count;
    layer.rms += found.rms / count;
    layer.kurtosis += found.kurtosis / count;
  }
  layer.elements = elements_of(states, options);
}

// The evaluation sequences, each once for every intervention: variant by variant.
class Variants {
 public:
  Variants(const decoder::States& evaluation, const Target& target, const Options& options)
      : count_(evaluation.count()), options_(options) {
    const std::vector<Element> own = elements_of(evaluation, options);
    std::vector<std::size_t> copies;
    for (std::size_t variant = 0; variant < kKinds.size(); ++variant) {
      for (std::size_t i = 0; i < count_; ++i) copies.push_back(i);
    }
    states_ = decoder::States(evaluation, copies);
    for (std::size_t variant = 0; variant < kKinds.size(); ++variant) {
      outcomes_.push_back({});
      outcomes_.back().kind = kKinds[variant];
      for (std::size_t i = 0; i < count_; ++i) {
        outcomes_.back().changed += intervene(kKinds[variant], target, own, static_cast<std::int32_t>(i), options,
                                              states_.of(variant * count_ + i));
      }
    }
  }

  decoder::States& states() { return states_; }

  // Whether what was suppressed is there again.
  void look_for_leaks(std::int64_t layer) {
    for (std::size_t variant = 1; variant < outcomes_.size(); ++variant) {
      for (std::size_t i = 0; i < count_; ++i) {
        const Tensor h = states_.of(variant * count_ + i);
        if (massive_elements(h, static_cast<std::int32_t>(i), options_).empty()) continue;
        outcomes_[variant].leaked_layers.push_back(layer);
        break;
      }
    }
  }

  std::vector<Outcome> outcomes() && { return std::move(outcomes_); }

 private:
  std::size_t count_;
  const Options& options_;
  decoder::States states_;
  std::vector<Outcome> outcomes_;
};

void measure(decoder::Decoder& model, const decoder::States& states, const Sequences& sequences, const Options& options,
             std::vector<Outcome>& outcomes) {
  std::vector<const decoder::Sequence*> all;
  for (std::size_t variant = 0; variant < outcomes.size(); ++variant) {
    for (const decoder::Sequence& ids : sequences.evaluation) all.push_back(&ids);
  }
  const std::vector<SequenceLoss> found = losses(model, model.finish(states, nullptr), all);
  const auto count = static_cast<std::ptrdiff_t>(sequences.evaluation.size());
  const std::vector<SequenceLoss> reference(found.begin(), found.begin() + count);
  for (std::size_t variant = 0; variant < outcomes.size(); ++variant) {
    const auto begin = found.begin() + static_cast<std::ptrdiff_t>(variant) * count;
    const std::vector<SequenceLoss> own(begin, begin + count);
    Outcome& outcome = outcomes[variant];
    for (const SequenceLoss& loss : own) outcome.tokens += loss.tokens;
    outcome.perplexity = perplexity_interval(own, options.resamples, options.seed);
    outcome.ratio = ratio_interval(own, reference, options.resamples, options.seed);
  }
}

}  // namespace

bool Layer::massive(const Options& options) const {
  return top[0] > options.absolute && ratio() >= options.ratio;
}

bool Outcome::destroyed() const {
  return !(ratio.value <= kDestroyed);
}

const char* name_of(Severity severity) {
  switch (severity) {
    case Severity::none:
      return "not detrimental";
    case Severity::medium:
      return "medium";
    case Severity::high:
      return "highly detrimental";
  }
  return "";
}

std::vector<std::int32_t> Condition::all_channels() const {
  std::vector<Element> all;
  for (const Layer& layer : layers) all.insert(all.end(), layer.elements.begin(), layer.elements.end());
  return channels_of(all);
}

Severity Condition::severity() const {
  const auto zero =
      std::find_if(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) { return outcome.kind == Kind::zero; });
  if (zero == outcomes.end()) return Severity::none;
  // A loss that is no number is as bad as one can be.
  return !(zero->ratio.value < kHigh)   ? Severity::high
         : zero->ratio.value >= kMedium ? Severity::medium
                                        : Severity::none;
}

Condition study(decoder::Decoder& model, const Sequences& sequences, const Options& options,
                const std::function<void()>& advanced) {
  Condition found;
  found.bos = sequences.bos;
  found.layers.resize(static_cast<std::size_t>(model.config().n_layers));
  SinkTap sinks(options, found.layers);
  decoder::States detection = model.embed(sequences.detection);
  decoder::States short_ones = model.embed(prefixes(sequences.detection));
  decoder::States mean = model.embed(sequences.mean);
  decoder::States evaluation = model.embed(sequences.evaluation);
  std::optional<Variants> variants;
  for (std::int64_t number = 0; number < model.config().n_layers; ++number) {
    Layer& layer = found.layers[static_cast<std::size_t>(number)];
    model.apply(number, detection, nullptr);
    model.apply(number, short_ones, &sinks);
    sinks.finish(number);
    describe(detection, options, layer);
    if (variants) {
      model.apply(number, variants->states(), nullptr);
      variants->look_for_leaks(number);
    } else {
      model.apply(number, mean, nullptr);
      model.apply(number, evaluation, nullptr);
      if (!layer.elements.empty()) {
        found.target = make_target(number, channels_of(layer.elements), elements_of(mean, options));
        variants.emplace(evaluation, *found.target, options);
        mean = decoder::States();
        evaluation = decoder::States();
      }
    }
    advanced();
  }
  if (variants) {
    found.outcomes = std::move(*variants).outcomes();
    measure(model, variants->states(), sequences, options, found.outcomes);
  } else {
    found.outcomes.resize(1);
    measure(model, evaluation, sequences, options, found.outcomes);
  }
  return found;
}

}  // namespace headroom::study
