#include "analysis/study/study.h"

#include <algorithm>
#include <cmath>

namespace headroom::study {
namespace {

constexpr double kDestroyed = 10.0;
constexpr double kHigh = 100.0;
constexpr double kMedium = 2.0;

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
  decoder::States mean = model.embed(sequences.mean);
  decoder::States evaluation = model.embed(sequences.evaluation);
  std::optional<Variants> variants;
  for (std::int64_t number = 0; number < model.config().n_layers; ++number) {
    Layer& layer = found.layers[static_cast<std::size_t>(number)];
    model.apply(number, detection, &sinks);
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
