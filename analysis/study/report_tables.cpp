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

using report::Cell;
using report::number_cell;
using report::Table;
using report::text_cell;

Cell condition_cell(std::size_t index, const Condition& condition) {
  Cell cell = text_cell(words_of(condition));
  cell.color = static_cast<int>(index);
  return cell;
}

std::size_t peak_layer(const Condition& condition) {
  return static_cast<std::size_t>(std::max_element(condition.layers.begin(), condition.layers.end(),
                                                   [](const Layer& a, const Layer& b) { return a.top[0] < b.top[0]; }) -
                                  condition.layers.begin());
}

std::vector<std::int64_t> massive_layers(const Condition& condition, const Options& options) {
  std::vector<std::int64_t> layers;
  for (std::size_t i = 0; i < condition.layers.size(); ++i) {
    if (condition.layers[i].massive(options)) layers.push_back(static_cast<std::int64_t>(i));
  }
  return layers;
}

Cell interval_cell(const Interval& interval) {
  Cell cell = number_cell(interval.value, 4);
  cell.note = fmt::format("{} – {}", report::format_number(interval.low, 4), report::format_number(interval.high, 4));
  return cell;
}

}  // namespace

std::string words_of(const Condition& condition) {
  return condition.bos ? "with BOS" : "without BOS";
}

const std::vector<std::string>& colors() {
  static const std::vector<std::string> all = {"#4269d0", "#e8743b"};
  return all;
}

Table summary_table(const std::vector<Condition>& conditions, const Options& options) {
  Table table{"summary", "With and without BOS", {}, {}};
  table.columns = {{"condition", "", "", false},
                   {"massive_layers", "Massive layers", "whose mean max|h| passes both tests", false},
                   {"first_layer", "First", "layer with a massive element, which is intervened on"},
                   {"channels", "Channels", "massive in that layer", false},
                   {"all_channels", "In all layers", "channels massive in any layer", false},
                   {"max", "Max", "largest mean max|h| of a layer"},
                   {"max_layer", "In layer", "that has it"},
                   {"median", "Median", "mean median|h| of that layer"},
                   {"ratio", "Ratio", "of the two"},
                   {"perplexity", "Perplexity", "of the unchanged model, 95 % interval below"},
                   {"severity", "Set to zero", "severity class by perplexity's ratio", false}};
  table.columns[0].title = "Sequences";
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const Condition& condition = conditions[i];
    const std::size_t peak = peak_layer(condition);
    const Layer& layer = condition.layers[peak];
    const auto massive = massive_layers(condition, options);
    std::vector<Cell> row = {condition_cell(i, condition)};
    row.push_back(text_cell(massive.empty() ? "none" : report::format_ranges(massive)));
    row.push_back(condition.target ? report::count_cell(condition.target->layer) : text_cell("none"));
    row.push_back(
        text_cell(condition.target ? fmt::format("{}", fmt::join(condition.target->channels, ", ")) : "none"));
    row.push_back(text_cell(fmt::format("{}", fmt::join(condition.all_channels(), ", "))));
    row.push_back(number_cell(layer.top[0], 4));
    row.push_back(report::count_cell(static_cast<std::int64_t>(peak)));
    row.push_back(number_cell(layer.median, 3));
    row.push_back(number_cell(layer.ratio(), 4));
    row.push_back(interval_cell(condition.outcomes.front().perplexity));
    Cell severity = text_cell(condition.target ? name_of(condition.severity()) : "nothing to set");
    severity.badge = !condition.target ? "plain" : condition.severity() == Severity::none ? "good" : "bad";
    row.push_back(severity);
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string summary_note(const Options& options) {
  return fmt::format(
      "A layer is massive when its max|h|, averaged over sequences, exceeds {0} and {1} times its median|h|, averaged "
      "alike. An element is massive when it exceeds {0} and {1} times its own sequence's median. Severity of setting "
      "to zero: highly detrimental from a hundredfold perplexity on, medium from a twofold.",
      report::format_number(options.absolute), report::format_number(options.ratio));
}

Table intervention_table(const std::vector<Condition>& conditions) {
  Table table{"interventions", "What interventions cost", {}, {}};
  table.columns = {{"condition", "Sequences", "", false},
                   {"layer", "Layer", "whose output is changed"},
                   {"intervention", "Intervention", "", false},
                   {"changed", "Activations", "changed, over all evaluation sequences"},
                   {"tokens", "Tokens", "predicted"},
                   {"perplexity", "Perplexity", "95 % interval below"},
                   {"ratio", "Ratio", "to the unchanged model; 95 % interval over sequences"},
                   {"ratio_low", "", "2.5 %"},
                   {"ratio_high", "", "97.5 %"},
                   {"destroyed", "Verdict", "beyond ten times the reference", false},
                   {"leaked", "Massive again in", "layers behind with massive elements", false}};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const Condition& condition = conditions[i];
    for (const Outcome& outcome : condition.outcomes) {
      std::vector<Cell> row = {condition_cell(i, condition)};
      row.push_back(condition.target ? report::count_cell(condition.target->layer) : text_cell("–"));
      row.push_back(text_cell(name_of(outcome.kind)));
      row.push_back(report::count_cell(outcome.changed));
      row.push_back(report::count_cell(outcome.tokens));
      row.push_back(interval_cell(outcome.perplexity));
      row.push_back(interval_cell(outcome.ratio));
      row.push_back(number_cell(outcome.ratio.low, 4));
      row.push_back(number_cell(outcome.ratio.high, 4));
      Cell verdict = Cell::of(outcome.destroyed(), outcome.kind == Kind::none ? "reference"
                                                   : outcome.destroyed()      ? "destroyed"
                                                                              : "lives");
      verdict.badge = outcome.destroyed() ? "bad" : "plain";
      row.push_back(verdict);
      row.push_back(text_cell(outcome.leaked_layers.empty() ? "none" : report::format_ranges(outcome.leaked_layers)));
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

std::string intervention_note() {
  return "At each sequence's massive positions, in all massive channels of the layer. mean: of massive elements only, "
         "at position 0 and at later positions by themselves. clamp: cut to what is just not massive. control: as many "
         "activations of the median's size set to zero instead. Where a model is destroyed its perplexity says no more "
         "than that.";
}

Table token_table(const Subject& subject, const std::vector<Condition>& conditions, const Tokenizer& tokenizer) {
  Table table{"tokens", "Tokens that massive elements lie on", {}, {}};
  table.columns = {{"condition", "Sequences", "", false},
                   {"class", "Class", "", false},
                   {"count", "Positions", "with a massive element"},
                   {"pieces", "Pieces", "the commonest, with counts", false}};
  constexpr std::size_t kMostPieces = 6;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    if (!conditions[i].target) continue;
    const Layer& layer = conditions[i].layers[static_cast<std::size_t>(conditions[i].target->layer)];
    std::map<TokenClass, std::map<std::string, std::int64_t>> counts;
    std::set<std::pair<std::int32_t, std::int32_t>> seen;
    for (const Element& element : layer.elements) {
      if (!seen.insert({element.sequence, element.position}).second) continue;
      const auto& ids = subject.sequences[i].detection[static_cast<std::size_t>(element.sequence)];
      const std::int32_t id = ids[static_cast<std::size_t>(element.position)];
      ++counts[class_of(id, element.position, tokenizer)][tokenizer.piece(id)];
    }
    for (const auto& [kind, pieces] : counts) {
      std::vector<std::pair<std::int64_t, std::string>> by_count;
      std::int64_t total = 0;
      for (const auto& [piece, count] : pieces) {
        by_count.emplace_back(count, piece);
        total += count;
      }
      std::sort(by_count.rbegin(), by_count.rend());
      std::vector<std::string> words;
      for (std::size_t k = 0; k < std::min(kMostPieces, by_count.size()); ++k) {
        words.push_back(fmt::format("“{}” {}", report::shown_piece(by_count[k].second), by_count[k].first));
      }
      table.rows.push_back({condition_cell(i, conditions[i]), text_cell(name_of(kind)), report::count_cell(total),
                            text_cell(fmt::format("{}", fmt::join(words, ", ")))});
    }
  }
  return table;
}

Table channel_table(const std::vector<Condition>& conditions) {
  Table table{"channels", "Massive channels by layer", {}, {}};
  table.columns = {{"condition", "Sequences", "", false},
                   {"layer", "Layer", ""},
                   {"channel", "Channel", ""},
                   {"elements", "Elements", "massive, over the detection sequences"},
                   {"positions", "At positions", "the first of them", false},
                   {"largest", "Largest |h|", ""}};
  constexpr std::size_t kMostPositions = 8;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    for (std::size_t number = 0; number < conditions[i].layers.size(); ++number) {
      std::map<std::int32_t, std::vector<Element>> by_channel;
      for (const Element& element : conditions[i].layers[number].elements) {
        by_channel[element.channel].push_back(element);
      }
      for (const auto& [channel, elements] : by_channel) {
        std::set<std::int32_t> positions;
        double largest = 0.0;
        for (const Element& element : elements) {
          positions.insert(element.position);
          largest = std::max(largest, std::abs(static_cast<double>(element.value)));
        }
        std::vector<std::int32_t> first(positions.begin(), positions.end());
        const bool more = first.size() > kMostPositions;
        if (more) first.resize(kMostPositions);
        table.rows.push_back(
            {condition_cell(i, conditions[i]), report::count_cell(static_cast<std::int64_t>(number)),
             report::count_cell(channel), report::count_cell(static_cast<std::int64_t>(elements.size())),
             text_cell(fmt::format("{}{}", fmt::join(first, ", "), more ? ", …" : "")), number_cell(largest, 5)});
      }
    }
  }
  return table;
}

Table layer_table(const std::vector<Condition>& conditions, const Options& options) {
  Table table{"layers", "Layers", {}, {}};
  table.columns = {
      {"condition", "Sequences", "", false},
      {"layer", "Layer", ""},
      {"top1", "Top 1", "mean over sequences of the largest |h|"},
      {"top2", "Top 2", "of the second"},
      {"top3", "Top 3", "of the third"},
      {"median", "Median", "mean over sequences of median |h|"},
      {"ratio", "Ratio", "top1 / median"},
      {"rms", "RMS", ""},
      {"kurtosis", "Kurtosis", "over channels"},
      {"massive", "Massive", "passes both tests", false},
      {"elements", "Elements", "massive by themselves"},
      {"sinks_first", "Sinks, first", "share of heads whose queries give position 0 more than the threshold"},
      {"sinks_other", "Sinks, other", "some other position"}};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    for (std::size_t number = 0; number < conditions[i].layers.size(); ++number) {
      const Layer& layer = conditions[i].layers[number];
      table.rows.push_back({condition_cell(i, conditions[i]), report::count_cell(static_cast<std::int64_t>(number)),
                            number_cell(layer.top[0], 5), number_cell(layer.top[1], 5), number_cell(layer.top[2], 5),
                            number_cell(layer.median, 4), number_cell(layer.ratio(), 4), number_cell(layer.rms, 4),
                            number_cell(layer.kurtosis, 4), Cell::of(layer.massive(options), ""),
                            report::count_cell(static_cast<std::int64_t>(layer.elements.size())),
                            number_cell(layer.first_sinks, 3), number_cell(layer.other_sinks, 3)});
    }
  }
  return table;
}

}  // namespace headroom::study
