#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
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

// What the massive positions of the first layer are, by class: "position 0 in 10 of 10 sequences; delimiters (7)".
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
  for (const auto& [kind, count] : later) {
    text += fmt::format("{}at {} later {}{}", text.empty() ? "" : ", ", count, name_of(kind),
                        count == 1 ? " token" : " tokens");
  }
  return text;
}

std::string existence(const Condition& condition, const Sequences& sequences, const Options& options,
                      const Tokenizer& tokenizer) {
  const auto peak = std::max_element(condition.layers.begin(), condition.layers.end(),
                                     [](const Layer& a, const Layer& b) { return a.top[0] < b.top[0]; });
  const std::string largest =
      fmt::format("the largest mean max|h| is {} in layer {}, {} times its median", format_number(peak->top[0], 4),
                  peak - condition.layers.begin(), format_number(peak->ratio(), 4));
  if (!condition.target) {
    return fmt::format("{}: no massive activation; {}.", capital(words_of(condition)), largest);
  }
  std::vector<std::int64_t> massive;
  for (std::size_t i = 0; i < condition.layers.size(); ++i) {
    if (condition.layers[i].massive(options)) massive.push_back(static_cast<std::int64_t>(i));
  }
  return fmt::format("{}: massive elements from layer {} on, in channel{} {}, {}. {}; {}.",
                     capital(words_of(condition)), condition.target->layer,
                     condition.target->channels.size() == 1 ? "" : "s", fmt::join(condition.target->channels, ", "),
                     where(condition, sequences, tokenizer),
                     massive.empty() ? "No layer's averages pass both tests"
                                     : fmt::format("Layers {} pass both tests", report::format_ranges(massive)),
                     largest);
}

std::string consequence(const Condition& condition) {
  std::string text = fmt::format("{}: perplexity {}", capital(words_of(condition)),
                                 format_number(condition.outcomes.front().perplexity.value, 4));
  for (const Outcome& outcome : condition.outcomes) {
    if (outcome.kind == Kind::none) continue;
    text += fmt::format("{} {} {}", outcome.kind == Kind::zero ? "; after" : ",", name_of(outcome.kind),
                        outcome.destroyed() ? fmt::format("destroyed ({})", format_number(outcome.perplexity.value, 3))
                                            : format_number(outcome.perplexity.value, 4));
    if (!outcome.leaked_layers.empty() && outcome.kind != Kind::control) {
      text += fmt::format(" (massive again in layers {})", report::format_ranges(outcome.leaked_layers));
    }
  }
  return text + fmt::format(". Setting to zero is {}.", name_of(condition.severity()));
}

}  // namespace

std::vector<std::string> findings(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options, const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    texts.push_back(existence(conditions[i], subject.sequences[i], options, tokenizer));
  }
  for (const Condition& condition : conditions) {
    if (condition.target) texts.push_back(consequence(condition));
  }
  return texts;
}

}  // namespace headroom::study
