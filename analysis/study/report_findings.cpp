#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "analysis/report/format.h"
#include "analysis/study/report_parts.h"
#include "analysis/study/texts.h"

namespace headroom::study {
namespace {

using report::format_number;

std::string capital(std::string text) {
  text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text;
}

// "layer 3", "layers 3–5 and 7".
std::string layers_words(const std::vector<std::int64_t>& layers) {
  return fmt::format("layer{} {}", layers.size() == 1 ? "" : "s", report::format_ranges(layers));
}

// What the massive positions of the first layer are, by class: "at position 0 of 10 of 10 sequences, at 7 of 31 later
// delimiter tokens".
std::string where(const Condition& condition, const Sequences& sequences, const Tokenizer& tokenizer) {
  const Layer& layer = condition.layers[static_cast<std::size_t>(condition.target->layer)];
  std::set<std::pair<std::int32_t, std::int32_t>> places;
  for (const Element& element : layer.elements) places.insert({element.sequence, element.position});
  std::int64_t first = 0;
  std::map<TokenClass, std::int64_t> later;
  for (const auto& [sequence, position] : places) {
    const std::int32_t id = sequences.detection[static_cast<std::size_t>(sequence)][static_cast<std::size_t>(position)];
    if (position == 0) {
      ++first;
    } else {
      ++later[class_of(id, position, tokenizer)];
    }
  }
  std::string text;
  if (first > 0) text = fmt::format("at position 0 of {} of {} sequences", first, sequences.detection.size());
  const std::map<TokenClass, std::int64_t> all = class_counts(sequences.detection, tokenizer, 1);
  for (const auto& [kind, count] : later) {
    text += fmt::format("{}at {} of {} later {} tokens", text.empty() ? "" : ", ", count, all.at(kind), name_of(kind));
  }
  return text;
}

std::string existence(const Condition& condition, const Sequences& sequences, const Options& options,
                      const Tokenizer& tokenizer) {
  const std::size_t peak = condition.peak_layer();
  const std::string largest = fmt::format("the largest mean max|h| is {} in layer {}, {} times its median",
                                          format_number(condition.layers[peak].top[0], 4), peak,
                                          format_number(condition.layers[peak].ratio(), 4));
  if (!condition.target) {
    return fmt::format("{}: no massive activation; {}.", capital(words_of(condition)), largest);
  }
  const std::vector<std::int64_t> massive = condition.massive_layers(options);
  return fmt::format("{}: massive elements first in layer {}, in channel{} {}, {}. {}; {}.",
                     capital(words_of(condition)), condition.target->layer,
                     condition.target->channels.size() == 1 ? "" : "s", some_of(condition.target->channels),
                     where(condition, sequences, tokenizer),
                     massive.empty() ? "No layer's averages pass both tests"
                                     : fmt::format("The averages of {} pass both tests", layers_words(massive)),
                     largest);
}

std::string writing(const Condition& condition) {
  const Writers& writers = condition.writers;
  const auto share = [&](double part) { return share_words(part, writers.all); };
  return fmt::format(
      "{}: of what those elements hold in layer {}, its feed-forward wrote {}, its attention {}; {} came in.",
      capital(words_of(condition)), condition.target->layer, share(writers.mlp), share(writers.attention),
      share(writers.all - writers.mlp - writers.attention));
}

std::string sinks(const Subject& subject, const Condition& condition, const Options& options) {
  const SinkShares shares = sink_shares(condition);
  const auto peak = std::max_element(condition.layers.begin(), condition.layers.end(),
                                     [](const Layer& a, const Layer& b) { return a.first_sinks < b.first_sinks; });
  std::string text =
      fmt::format("{}: {} of all heads give the first key more than {} of their attention{}, {} some other key",
                  capital(words_of(condition)), report::format_share(shares.first), fmt::format("{:g}", options.sink),
                  shares.first > 0.0 ? fmt::format(" (most in layer {}: {})", peak - condition.layers.begin(),
                                                   report::format_share(peak->first_sinks))
                                     : "",
                  report::format_share(shares.other));
  if (subject.config.kv_bias != decoder::KvBias::none) {
    text += fmt::format(", {} the KV bias' slot", report::format_share(shares.slot));
  }
  return text + ".";
}

// What an intervention did to the perplexity: "perplexity times 1.23 (1.1 to 1.4)".
std::string effect(const Outcome& outcome) {
  std::string text = fmt::format("multiplies perplexity by {}", words_of(outcome.ratio));
  if (outcome.texts.size() > 1) text += fmt::format(" over {} texts", outcome.texts.size());
  std::int64_t not_finite = 0;
  for (const TextOutcome& one : outcome.texts) not_finite += one.not_finite;
  if (not_finite > 0)
    text += fmt::format(" ({} sequence{} without a finite loss)", not_finite, not_finite == 1 ? "" : "s");
  return text;
}

std::string severity_words(const Interval& ratio) {
  if (ratio.high < 1.0) return "the model is better without them";
  const Severity severity = severity_of(ratio.value);
  std::string text = fmt::format("that is {}", name_of(severity));
  if (!std::isfinite(ratio.low)) return text;
  for (const double end : {ratio.low, ratio.high}) {
    if (severity_of(end) == severity) continue;
    text += fmt::format(", though its interval reaches “{}”", name_of(severity_of(end)));
  }
  return text;
}

// What of the massive elements setting to zero did not reach.
std::string leaks(const Suppression& found) {
  std::string text;
  if (!found.leaked_layers.empty()) {
    text += fmt::format(" They are massive again in {}, so that this understates what they do.",
                        layers_words(found.leaked_layers));
  }
  if (found.left > 0) {
    text += fmt::format(
        " {} of {} massive elements stayed in the layer, in channels where the detection sequences have none, so that "
        "this understates what all do.",
        report::format_count(found.left), report::format_count(found.elements));
  }
  if (!found.other_layers.empty()) {
    text += fmt::format(" {} {} massive elements at other places.", capital(layers_words(found.other_layers)),
                        found.other_layers.size() == 1 ? "has" : "have");
  }
  return text;
}

std::string consequence(const Condition& condition) {
  const std::string who = capital(words_of(condition));
  const Outcome* const zeroed = condition.zeroed();
  if (zeroed == nullptr) {
    return fmt::format("{}: no held-out sequence has a massive element in layer {}: what they do was not tested.", who,
                       condition.target->layer);
  }
  std::string text = fmt::format("{}: setting them to zero in layer {} {}: {}.", who, condition.target->layer,
                                 effect(*zeroed), severity_words(zeroed->ratio));
  std::vector<std::string> others;
  for (const Outcome& outcome : condition.outcomes) {
    if (outcome.kind == Kind::none || outcome.kind == Kind::zero) continue;
    std::string one = fmt::format("{} {}", name_of(outcome.kind), words_of(outcome.ratio));
    if (outcome.change.without_mean > 0) {
      one += fmt::format(", {} of the elements left as they are for want of a mean",
                         report::format_count(outcome.change.without_mean));
    }
    others.push_back(std::move(one));
  }
  return text + fmt::format(" By the others: {}.", fmt::join(others, "; ")) + leaks(condition.suppression);
}

}  // namespace

std::vector<std::string> findings(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options, const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  const Options published;
  if (options.absolute != published.absolute || options.ratio != published.ratio) {
    texts.push_back(fmt::format(
        "“Massive” means beyond {:g} and {:g} times the median here, not the {:g} and {:g} of the literature.",
        options.absolute, options.ratio, published.absolute, published.ratio));
  }
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    texts.push_back(existence(conditions[i], subject.sequences[i], options, tokenizer));
  }
  for (const Condition& condition : conditions) {
    if (condition.target && adds_up(subject.config)) texts.push_back(writing(condition));
  }
  for (const Condition& condition : conditions) {
    if (condition.target) texts.push_back(consequence(condition));
  }
  for (const Condition& condition : conditions) texts.push_back(sinks(subject, condition, options));
  return texts;
}

}  // namespace headroom::study
