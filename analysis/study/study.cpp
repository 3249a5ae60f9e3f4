#include "analysis/study/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace headroom::study {
namespace {

constexpr double kDestroyed = 10.0;

std::vector<decoder::Sequence> all_of(const std::vector<Sequences::HeldOut>& texts) {
  std::vector<decoder::Sequence> all;
  for (const Sequences::HeldOut& text : texts) all.insert(all.end(), text.sequences.begin(), text.sequences.end());
  return all;
}

// The evaluation sequences, each once for every intervention: variant by variant.
class Variants {
 public:
  Variants(const decoder::States& evaluation, const Target& target, const Options& options)
      : count_(evaluation.count()), target_(target), options_(options) {
    const std::vector<Element> own = elements_of(evaluation, 0, count_, options);
    std::vector<std::size_t> copies;
    for (std::size_t variant = 0; variant < kKinds.size(); ++variant) {
      for (std::size_t i = 0; i < count_; ++i) copies.push_back(i);
    }
    states_ = decoder::States(evaluation, copies);
    for (std::size_t variant = 0; variant < kKinds.size(); ++variant) {
      std::vector<Change> changes(count_);
#pragma omp parallel for schedule(dynamic)
      for (std::size_t i = 0; i < count_; ++i) {
        changes[i] = intervene(kKinds[variant], target, own, static_cast<std::int32_t>(i), options,
                               states_.of(variant * count_ + i));
      }
      outcomes_.emplace_back();
      outcomes_.back().kind = kKinds[variant];
      for (const Change& change : changes) {
        outcomes_.back().change.changed += change.changed;
        outcomes_.back().change.without_mean += change.without_mean;
      }
    }
    for (std::size_t i = 0; i < count_; ++i) {
      zeroed_positions_.push_back(positions_of(own, static_cast<std::int32_t>(i)));
    }
    suppression_.elements = std::ssize(own);
    suppression_.left = std::ssize(zeroed_elements());
  }

  decoder::States& states() {
    return states_;
  }

  // Whether what was set to zero is massive again behind `layer`, and what else is.
  void look_for_leaks(std::int64_t layer) {
    bool leaked = false;
    bool others = false;
    for (const Element& element : zeroed_elements()) {
      const auto& positions = zeroed_positions_[static_cast<std::size_t>(element.sequence)];
      const bool suppressed = std::binary_search(positions.begin(), positions.end(), element.position) &&
                              std::binary_search(target_.channels.begin(), target_.channels.end(), element.channel);
      (suppressed ? leaked : others) = true;
    }
    if (leaked) suppression_.leaked_layers.push_back(layer);
    if (others) suppression_.other_layers.push_back(layer);
  }

  const Suppression& suppression() const {
    return suppression_;
  }
  std::vector<Outcome> outcomes() const {
    return outcomes_;
  }

 private:
  std::vector<Element> zeroed_elements() const {
    static_assert(kKinds[1] == Kind::zero);
    return elements_of(states_, count_, count_, options_);
  }

  std::size_t count_;
  const Target& target_;
  const Options& options_;
  decoder::States states_;
  std::vector<Outcome> outcomes_;
  std::vector<std::vector<std::int32_t>> zeroed_positions_;  // of each sequence, rising
  Suppression suppression_;
};

// Losses that are no numbers become infinite ones, which sort and add up.
std::int64_t settle(std::vector<SequenceLoss>& losses) {
  std::int64_t not_finite = 0;
  for (SequenceLoss& loss : losses) {
    if (std::isfinite(loss.nll)) continue;
    loss.nll = std::numeric_limits<double>::infinity();
    ++not_finite;
  }
  return not_finite;
}

void refuse_not_finite(const std::vector<SequenceLoss>& reference, const std::string& text) {
  const auto found = std::find_if(reference.begin(), reference.end(),
                                  [](const SequenceLoss& loss) { return !std::isfinite(loss.nll); });
  if (found == reference.end()) return;
  throw Error(
      ExitCode::diverged,
      fmt::format("the unchanged model's loss is not finite, in sequence {} of {}", found - reference.begin(), text),
      "The model is damaged, or cannot be computed in float32.");
}

void measure(decoder::Decoder& model, const decoder::States& states, const Sequences& sequences, const Options& options,
             std::vector<Outcome>& outcomes) {
  const std::vector<decoder::Sequence> evaluation = all_of(sequences.evaluation);
  std::vector<const decoder::Sequence*> all;
  for (std::size_t variant = 0; variant < outcomes.size(); ++variant) {
    for (const decoder::Sequence& ids : evaluation) all.push_back(&ids);
  }
  const std::vector<SequenceLoss> found = losses(model, model.finish(states, nullptr), all);
  auto next = found.begin();
  std::vector<std::vector<SequenceLoss>> references;
  for (Outcome& outcome : outcomes) {
    std::vector<std::vector<SequenceLoss>> losses_of;
    for (const Sequences::HeldOut& text : sequences.evaluation) {
      losses_of.emplace_back(next, next + std::ssize(text.sequences));
      next += std::ssize(text.sequences);
      std::vector<SequenceLoss>& own = losses_of.back();
      if (outcome.kind == Kind::none) {
        refuse_not_finite(own, text.name);
        references.push_back(own);
      }
      TextOutcome lost;
      lost.not_finite = settle(own);
      for (const SequenceLoss& loss : own) lost.tokens += loss.tokens;
      lost.perplexity = perplexity_interval(own, options.resamples, options.seed);
      lost.ratio = ratio_interval(own, references[outcome.texts.size()], options.resamples, options.seed);
      outcome.texts.push_back(lost);
    }
    outcome.ratio = mean_ratio_interval(losses_of, references, options.resamples, options.seed);
  }
}

}  // namespace

bool TextOutcome::destroyed() const {
  return ratio.value > kDestroyed;
}

double Outcome::mean_perplexity() const {
  double sum = 0.0;
  double count = 0.0;
  for (const TextOutcome& text : texts) {
    if (text.destroyed()) continue;
    sum += text.perplexity.value;
    count += 1.0;
  }
  return sum / count;
}

std::int64_t Outcome::destroyed() const {
  return std::count_if(texts.begin(), texts.end(), [](const TextOutcome& text) { return text.destroyed(); });
}

const char* name_of(Severity severity) {
  switch (severity) {
    case Severity::none:
      return "not detrimental";
    case Severity::slight:
      return "slightly detrimental";
    case Severity::medium:
      return "detrimental";
    case Severity::high:
      return "highly detrimental";
  }
  return "";
}

double lower_bound(Severity severity) {
  switch (severity) {
    case Severity::none:
      return 0.0;
    case Severity::slight:
      return 1.1;
    case Severity::medium:
      return 2.0;
    case Severity::high:
      break;
  }
  return 100.0;
}

Severity severity_of(double ratio) {
  for (const Severity severity : {Severity::high, Severity::medium, Severity::slight}) {
    if (ratio >= lower_bound(severity)) return severity;
  }
  return Severity::none;
}

std::vector<std::int32_t> Condition::all_channels() const {
  std::vector<Element> all;
  for (const Layer& layer : layers) all.insert(all.end(), layer.elements.begin(), layer.elements.end());
  return channels_of(all);
}

std::vector<std::int64_t> Condition::massive_layers(const Options& options) const {
  std::vector<std::int64_t> massive;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].massive(options)) massive.push_back(static_cast<std::int64_t>(i));
  }
  return massive;
}

std::size_t Condition::peak_layer() const {
  const auto peak = std::max_element(layers.begin(), layers.end(),
                                     [](const Layer& a, const Layer& b) { return a.top[0] < b.top[0]; });
  return static_cast<std::size_t>(peak - layers.begin());
}

const Outcome* Condition::zeroed() const {
  const auto zero =
      std::find_if(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) { return outcome.kind == Kind::zero; });
  return zero == outcomes.end() || zero->change.changed == 0 ? nullptr : &*zero;
}

Condition study(decoder::Decoder& model, const Sequences& sequences, const Options& options,
                const std::function<void()>& advanced) {
  Condition found;
  found.bos = sequences.bos;
  found.layers.resize(static_cast<std::size_t>(model.config().n_layers));
  decoder::States detection = model.embed(sequences.detection);
  Watcher watcher(options, detection, found.layers);
  decoder::States mean = model.embed(sequences.mean);
  decoder::States evaluation = model.embed(all_of(sequences.evaluation));
  std::optional<Variants> variants;
  for (std::int64_t number = 0; number < model.config().n_layers; ++number) {
    Layer& layer = found.layers[static_cast<std::size_t>(number)];
    model.apply(number, detection, &watcher);
    watcher.finish(number);
    describe(detection, number, options, layer);
    if (variants) {
      model.apply(number, variants->states(), nullptr);
      variants->look_for_leaks(number);
    } else {
      model.apply(number, mean, nullptr);
      model.apply(number, evaluation, nullptr);
      if (!layer.elements.empty()) {
        found.target = make_target(number, channels_of(layer.elements), elements_of(mean, 0, mean.count(), options));
        found.writers = watcher.writers(layer.elements);
        variants.emplace(evaluation, *found.target, options);
        mean = decoder::States();
        evaluation = decoder::States();
      }
    }
    advanced();
  }
  if (variants) {
    found.outcomes = variants->outcomes();
    found.suppression = variants->suppression();
  } else {
    found.outcomes.resize(1);
  }
  measure(model, variants ? variants->states() : evaluation, sequences, options, found.outcomes);
  return found;
}

}  // namespace headroom::study
