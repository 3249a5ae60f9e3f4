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

// A number that may be infinite, which is not the same as unknown.
Cell real_cell(double value, int digits) {
  return std::isinf(value) ? Cell::of("inf", report::format_number(value)) : number_cell(value, digits);
}

Cell interval_cell(const Interval& interval) {
  Cell cell = real_cell(interval.value, 4);
  if (std::isfinite(interval.low)) {
    cell.note = fmt::format("{} – {}", report::format_number(interval.low, 4), report::format_number(interval.high, 4));
  }
  return cell;
}

// What a ratio of perplexities means, as a badge.
Cell severity_cell(double ratio) {
  const Severity severity = severity_of(ratio);
  Cell cell = text_cell(name_of(severity));
  cell.badge = severity == Severity::none ? "good" : severity == Severity::slight ? "plain" : "bad";
  return cell;
}

// The part of the massive elements that attention or the feed-forward of their layer wrote, whichever wrote more.
Cell writer_cell(const Subject& subject, const Condition& condition) {
  if (!condition.target || !adds_up(subject.config)) return Cell::of(nullptr, "–");
  const Writers& writers = condition.writers;
  const double before = writers.all - writers.attention - writers.mlp;
  const auto share = [&](double part) { return share_words(part, writers.all); };
  if (before > std::max(writers.attention, writers.mlp)) return text_cell("what came in " + share(before));
  return text_cell(writers.mlp >= writers.attention ? "feed-forward " + share(writers.mlp)
                                                    : "attention " + share(writers.attention));
}

}  // namespace

std::string words_of(const Condition& condition) {
  return condition.bos ? "with BOS" : "without BOS";
}

std::string words_of(const Interval& interval) {
  const std::string value = report::format_number(interval.value, 4);
  if (!std::isfinite(interval.low)) return value;
  return fmt::format("{} ({} to {})", value, report::format_number(interval.low, 4),
                     report::format_number(interval.high, 4));
}

std::string share_words(double part, double whole) {
  return fmt::format("{} %", std::lround(100.0 * part / whole));
}

std::string some_of(const std::vector<std::int32_t>& numbers) {
  constexpr std::size_t kMost = 6;
  if (numbers.size() <= kMost + 1) return fmt::format("{}", fmt::join(numbers, ", "));
  const std::vector<std::int32_t> first(numbers.begin(), numbers.begin() + kMost);
  return fmt::format("{} and {} more", fmt::join(first, ", "), numbers.size() - kMost);
}

bool adds_up(const decoder::Config& config) {
  return config.place != decoder::NormPlace::post_sum;
}

SinkShares sink_shares(const Condition& condition) {
  SinkShares shares;
  const auto count = static_cast<double>(condition.layers.size());
  for (const Layer& layer : condition.layers) {
    shares.first += layer.first_sinks / count;
    shares.other += layer.other_sinks / count;
    shares.slot += layer.slot_sinks / count;
  }
  return shares;
}

const std::vector<std::string>& colors() {
  static const std::vector<std::string> all = {"#4269d0", "#e8743b"};
  return all;
}

Table summary_table(const Subject& subject, const std::vector<Condition>& conditions, const Options& options) {
  Table table{"summary", "With and without BOS", {}, {}};
  table.columns = {{"condition", "Sequences", "", false},
                   {"massive_layers", "Massive layers", "whose mean max|h| passes both tests", false},
                   {"first_layer", "First", "layer with a massive element, which is intervened on"},
                   {"channels", "Channels", "massive in that layer", false},
                   {"all_channels", "In all layers", "channels massive in any layer", false},
                   {"writer", "Written by", "the part of that layer that wrote most of them", false},
                   {"max", "Max", "largest mean max|h| of a layer"},
                   {"max_layer", "In layer", "that has it"},
                   {"median", "Median", "mean median|h| of that layer"},
                   {"ratio", "Ratio", "of the two"},
                   {"sinks_first", "Sink heads", "share of all heads whose queries attend to the first key"},
                   {"perplexity", "Perplexity", "of the unchanged model; the mean over held-out texts"},
                   {"zero_ratio", "Set to zero", "perplexity's ratio; over several texts the geometric mean"},
                   {"severity", "", "severity class of that ratio", false}};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const Condition& condition = conditions[i];
    const std::size_t peak = condition.peak_layer();
    const Layer& layer = condition.layers[peak];
    const auto massive = condition.massive_layers(options);
    const auto list = [](const std::vector<std::int32_t>& channels) {
      return Cell::of(fmt::format("{}", fmt::join(channels, ", ")), channels.empty() ? "none" : some_of(channels));
    };
    std::vector<Cell> row = {condition_cell(i, condition)};
    row.push_back(Cell::of(report::format_ranges(massive), massive.empty() ? "none" : report::format_ranges(massive)));
    row.push_back(condition.target ? report::count_cell(condition.target->layer) : Cell::of(nullptr, "none"));
    row.push_back(list(condition.target ? condition.target->channels : std::vector<std::int32_t>{}));
    row.push_back(list(condition.all_channels()));
    row.push_back(writer_cell(subject, condition));
    row.push_back(number_cell(layer.top[0], 4));
    row.push_back(report::count_cell(static_cast<std::int64_t>(peak)));
    row.push_back(number_cell(layer.median, 3));
    row.push_back(number_cell(layer.ratio(), 4));
    const double sinks = sink_shares(condition).first;
    row.push_back(Cell::of(sinks, report::format_share(sinks)));
    const Outcome& reference = condition.outcomes.front();
    row.push_back(reference.texts.size() == 1 ? interval_cell(reference.texts.front().perplexity)
                                              : number_cell(reference.mean_perplexity(), 4));
    const Outcome* const zeroed = condition.zeroed();
    row.push_back(zeroed ? interval_cell(zeroed->ratio) : Cell::of(nullptr, "–"));
    row.push_back(zeroed ? severity_cell(zeroed->ratio.value)
                         : text_cell(condition.target ? "not tested" : "nothing to set"));
    if (!zeroed) row.back().badge = "plain";
    table.rows.push_back(std::move(row));
  }
  table.columns.back().title = "Which is";
  return table;
}

std::string summary_note(const Options& options) {
  return fmt::format(
      "A layer is massive when its max|h|, averaged over sequences, exceeds {0} and reaches {1} times its median|h|, "
      "averaged alike. An element is massive when it exceeds {0} and {1} times its own sequence's median. Setting to "
      "zero is slightly detrimental from {2} times the perplexity on, detrimental from {3}, highly from {4}.",
      report::format_number(options.absolute), report::format_number(options.ratio),
      report::format_number(lower_bound(Severity::slight)), report::format_number(lower_bound(Severity::medium)),
      report::format_number(lower_bound(Severity::high)));
}

Table intervention_table(const Subject& subject, const std::vector<Condition>& conditions) {
  Table table{"interventions", "What interventions cost", {}, {}};
  table.columns = {{"condition", "Sequences", "", false},
                   {"layer", "Layer", "whose output is changed"},
                   {"intervention", "Intervention", "", false},
                   {"changed", "Activations", "changed, over all evaluation sequences"},
                   {"text", "Held-out text", "", false},
                   {"tokens", "Tokens", "predicted"},
                   {"perplexity", "Perplexity", "95 % interval below"},
                   {"ratio", "Ratio", "to the unchanged model; 95 % interval over sequences"},
                   {"perplexity_low", "", "2.5 %"},
                   {"perplexity_high", "", "97.5 %"},
                   {"ratio_low", "", "2.5 %"},
                   {"ratio_high", "", "97.5 %"},
                   {"not_finite", "", "sequences whose loss is no number"},
                   {"verdict", "Verdict", "destroyed: beyond ten times the reference", false}};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const Condition& condition = conditions[i];
    for (const Outcome& outcome : condition.outcomes) {
      const std::vector<Cell> head = {
          condition_cell(i, condition),
          condition.target ? report::count_cell(condition.target->layer) : Cell::of(nullptr, "–"),
          text_cell(name_of(outcome.kind)), report::count_cell(outcome.change.changed)};
      const auto verdict = [&](double ratio, bool destroyed) {
        if (outcome.kind == Kind::none) return text_cell("reference");
        if (!destroyed) return severity_cell(ratio);
        Cell cell = text_cell("destroyed");
        cell.badge = "bad";
        return cell;
      };
      for (std::size_t text = 0; text < outcome.texts.size(); ++text) {
        const TextOutcome& found = outcome.texts[text];
        std::vector<Cell> row = head;
        row.push_back(text_cell(subject.sequences[i].evaluation[text].name));
        row.push_back(report::count_cell(found.tokens));
        row.push_back(interval_cell(found.perplexity));
        row.push_back(interval_cell(found.ratio));
        for (const Interval& interval : {found.perplexity, found.ratio}) {
          row.push_back(real_cell(interval.low, 4));
          row.push_back(real_cell(interval.high, 4));
        }
        row.push_back(report::count_cell(found.not_finite));
        row.push_back(verdict(found.ratio.value, found.destroyed()));
        table.rows.push_back(std::move(row));
      }
      if (outcome.texts.size() < 2) continue;
      std::vector<Cell> row = head;
      std::int64_t tokens = 0;
      for (const TextOutcome& found : outcome.texts) tokens += found.tokens;
      const std::int64_t destroyed = outcome.destroyed();
      row.push_back(
          Cell::of("all texts", destroyed == 0 ? "all texts" : fmt::format("all texts but {} destroyed", destroyed)));
      row.push_back(report::count_cell(tokens));
      row.push_back(number_cell(outcome.mean_perplexity(), 4));
      row.push_back(interval_cell(outcome.ratio));
      row.push_back(Cell::of(nullptr, ""));
      row.push_back(Cell::of(nullptr, ""));
      row.push_back(real_cell(outcome.ratio.low, 4));
      row.push_back(real_cell(outcome.ratio.high, 4));
      row.push_back(Cell::of(nullptr, ""));
      row.push_back(verdict(outcome.ratio.value, destroyed == std::ssize(outcome.texts)));
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

std::string intervention_note() {
  return "At each sequence's massive positions in the layer. zero and clamp: all channels that are massive there in "
         "any "
         "detection sequence; clamp cuts to what is just not massive. mean: massive elements alone, to the mean of "
         "such "
         "by channel and sign, at position 0 and at later ones by themselves. control: as many activations of the "
         "median's size set to zero instead. Means of perplexities leave destroyed texts out; ratios over texts are "
         "geometric means of all.";
}

Table token_table(const Subject& subject, const std::vector<Condition>& conditions, const Tokenizer& tokenizer) {
  Table table{"tokens", "Tokens that massive elements lie on", {}, {}};
  table.columns = {{"condition", "Sequences", "", false},
                   {"class", "Class", "", false},
                   {"count", "Positions", "with a massive element"},
                   {"of", "Of", "positions of this class in the detection sequences"},
                   {"pieces", "Pieces", "the commonest, with counts", false}};
  constexpr std::size_t kMostPieces = 6;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    if (!conditions[i].target) continue;
    const Layer& layer = conditions[i].layers[static_cast<std::size_t>(conditions[i].target->layer)];
    std::map<TokenClass, std::map<std::string, std::int64_t>> counts;
    const std::map<TokenClass, std::int64_t> all = class_counts(subject.sequences[i].detection, tokenizer);
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
                            report::count_cell(all.at(kind)), text_cell(fmt::format("{}", fmt::join(words, ", ")))});
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

Table largest_channels(const Table& channels) {
  constexpr std::size_t kMost = 30;
  if (channels.rows.size() <= kMost) return channels;
  const auto size_of = [](const std::vector<Cell>& row) { return row.back().value.get<double>(); };
  std::vector<double> largest;
  for (const std::vector<Cell>& row : channels.rows) largest.push_back(size_of(row));
  std::sort(largest.rbegin(), largest.rend());
  Table some = channels;
  std::erase_if(some.rows, [&](const std::vector<Cell>& row) { return size_of(row) < largest[kMost - 1]; });
  some.rows.resize(std::min(some.rows.size(), kMost));
  return some;
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
      {"attention_top", "Attention", "mean over sequences of the largest that attention adds"},
      {"mlp_top", "Feed-forward", "and the feed-forward"},
      {"sinks_first", "Sinks, first", "share of heads whose queries give position 0 more than the threshold"},
      {"sinks_other", "Sinks, other", "some other position"},
      {"sinks_slot", "Sinks, slot", "a KV bias' slot"}};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    for (std::size_t number = 0; number < conditions[i].layers.size(); ++number) {
      const Layer& layer = conditions[i].layers[number];
      table.rows.push_back({condition_cell(i, conditions[i]), report::count_cell(static_cast<std::int64_t>(number)),
                            number_cell(layer.top[0], 5), number_cell(layer.top[1], 5), number_cell(layer.top[2], 5),
                            number_cell(layer.median, 4), number_cell(layer.ratio(), 4), number_cell(layer.rms, 4),
                            number_cell(layer.kurtosis, 4), Cell::of(layer.massive(options), ""),
                            report::count_cell(static_cast<std::int64_t>(layer.elements.size())),
                            number_cell(layer.attention_top, 4), number_cell(layer.mlp_top, 4),
                            number_cell(layer.first_sinks, 3), number_cell(layer.other_sinks, 3),
                            number_cell(layer.slot_sinks, 3)});
    }
  }
  return table;
}

}  // namespace headroom::study
