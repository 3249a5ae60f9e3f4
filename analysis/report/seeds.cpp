#include "analysis/report/seeds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "analysis/report/format.h"
#include "analysis/report/table_parts.h"
#include "analysis/report/verdicts.h"

namespace headroom::report {
namespace {

// The run's set that all runs have in common: the first run's main set, after snapshot_tokens.
const SetMeasures* common_set(const Study& study, std::size_t run) {
  if (!study.snapshot_tokens) return nullptr;
  const auto at = [&](std::size_t index) -> const std::vector<SetMeasures>* {
    for (const HistoryPoint& point : study.runs[index].history) {
      if (point.tokens == *study.snapshot_tokens) return &point.sets;
    }
    return nullptr;
  };
  const auto* own = at(run);
  for (std::size_t first = 0; own && first < study.runs.size(); ++first) {
    const auto* sets = at(first);
    if (const SetMeasures* main = sets ? main_set(*sets) : nullptr) return find_set(*own, main->set.key);
  }
  return nullptr;
}

template <class Figure>
auto of_set(Figure figure) {
  return [figure](const Study& study, std::size_t run) -> std::optional<double> {
    const SetMeasures* m = common_set(study, run);
    return m ? std::optional<double>(figure(*m)) : std::nullopt;
  };
}

template <class Figure>
auto largest_layer(Figure figure) {
  return of_set([figure](const SetMeasures& m) {
    std::vector<double> values;
    for (const LayerMeasure& layer : m.layers) values.push_back(figure(layer));
    return values[largest_of(values)];
  });
}

auto evaluated(double EvalPoint::*figure) {
  return [figure](const Study& study, std::size_t run) -> std::optional<double> {
    const EvalPoint* point = study.evaluated_tokens ? study.evaluation(run) : nullptr;
    return point ? std::optional<double>(point->*figure) : std::nullopt;
  };
}

std::optional<double> trained(const Study& study, std::size_t run) {
  const auto& metrics = study.runs[run].metrics;
  if (!metrics || metrics->steps.empty() || study.runs[run].tokens_seen() < study.equal_tokens) return std::nullopt;
  return study.training_loss(run);
}

bool same_tokens(const Run& a, const Run& b) {
  return a.facts.tokenizer == b.facts.tokenizer && a.facts.vocab_size == b.facts.vocab_size &&
         a.facts.corpus == b.facts.corpus;
}

SeedFigure figure_of(const Study& study, const SeedMeasure& measure, const Group& group) {
  SeedFigure figure;
  for (const std::size_t run : group.runs) {
    const auto value = measure.value(study, run);
    if (!value) continue;
    figure.runs.push_back(run);
    figure.values.push_back(*value);
    if (!std::isfinite(*value)) figure.unknown.push_back(run);
  }
  figure.estimate = estimate(figure.values, measure.averaging);
  if (measure.shown == Shown::share && figure.estimate.has_interval()) {
    figure.estimate.low = std::max(0.0, figure.estimate.low);
    figure.estimate.high = std::min(1.0, figure.estimate.high);
  }
  return figure;
}

void compare(const SeedMeasure& measure, const SeedFigure& base, SeedFigure& own) {
  const Estimate& a = own.estimate;
  const Estimate& b = base.estimate;
  const bool all_alike = a.low == a.high && b.low == b.high && a.mean == b.mean;
  own.compared = a.has_interval() && b.has_interval() && !all_alike;
  own.apart = own.compared && separate(a, b);
  if (own.apart) own.change = measure.averaging == Averaging::geometric ? a.mean / b.mean : a.mean - b.mean;
}

std::string names(const Study& study, const std::vector<std::size_t>& runs) {
  std::vector<std::string> labels;
  for (const std::size_t run : runs) labels.push_back(study.runs[run].label);
  return fmt::format("{}", fmt::join(labels, "; "));
}

void add_missing_runs(const Study& study, std::vector<std::string>& out) {
  for (const Group& group : study.groups) {
    double most = 0.0;
    for (const std::size_t run : group.runs) most = std::max(most, study.runs[run].tokens_seen());
    for (const std::size_t run : group.runs) {
      const Run& r = study.runs[run];
      if (study.ended_early(run)) {
        out.push_back(
            fmt::format("{} ended early, after {} of the {} training tokens of {}: it is in no mean that is "
                        "taken later, which are over the seeds that got there.",
                        r.label, format_amount(r.tokens_seen()), format_amount(most), group.label));
      } else if (r.history.empty() && group.repeated()) {
        out.push_back(
            fmt::format("{} has no snapshot: the activations of {} are over its other seeds.", r.label, group.label));
      }
    }
  }
}

void add_unknown_runs(const Study& study, const SeedComparison& comparison, std::vector<std::string>& out) {
  for (std::size_t g = 0; g < study.groups.size(); ++g) {
    std::vector<std::string> titles;
    std::vector<std::size_t> runs;
    for (std::size_t m = 0; m < comparison.measures.size(); ++m) {
      const SeedFigure& figure = comparison.figures[m][g];
      if (figure.unknown.empty()) continue;
      titles.push_back(comparison.measures[m].title);
      for (const std::size_t run : figure.unknown) {
        if (std::find(runs.begin(), runs.end(), run) == runs.end()) runs.push_back(run);
      }
    }
    if (!runs.empty()) {
      out.push_back(fmt::format("Not finite in {}, so unknown for {}: {}.", names(study, runs), study.groups[g].label,
                                fmt::join(titles, ", ")));
    }
  }
}

}  // namespace

std::vector<SeedMeasure> seed_measures(const Study& study) {
  using enum Averaging;
  const std::string over = ": " + main_words(study);
  const auto at = [](const std::optional<double>& tokens) {
    return tokens ? fmt::format(" at {} training tokens", format_amount(*tokens)) : std::string(" (none in common)");
  };
  const std::string held_out = " on the held-out split" + at(study.evaluated_tokens);
  const std::string log = "; geometric mean and interval, worked out of the logarithms";
  const std::string sink = fmt::format(
      "share of (layer, head, sequence) whose mean attention to the first key exceeds "
      "{:g}",
      study.thresholds.sink);
  return {
      {"held_out_loss", "Held-out loss", "nats a token" + held_out, arithmetic, Shown::nats, true,
       evaluated(&EvalPoint::loss)},
      {"perplexity", "Held-out perplexity", "exp(mean loss)" + held_out + log, geometric, Shown::number, true,
       evaluated(&EvalPoint::perplexity)},
      {"train_loss", "Train loss",
       fmt::format("mean of the last 5 % of the steps up to {} training tokens, nats a token",
                   format_amount(study.equal_tokens)),
       arithmetic, Shown::nats, true, trained},
      {"max", "Max |h|", "largest layer mean of max|h|" + over + log, geometric, Shown::number, false,
       of_set([](const SetMeasures& m) { return m.max().max; })},
      {"median", "Median |h|", "largest layer mean of median|h|" + over + log, geometric, Shown::number, false,
       of_set([](const SetMeasures& m) { return m.median().median; })},
      {"ratio", "Max / median", "largest max/median of one layer" + over + log, geometric, Shown::number, false,
       of_set([](const SetMeasures& m) { return m.ratio().ratio(); })},
      {"crest", "Crest factor", "largest layer mean of max|h| / rms(h)" + over + log, geometric, Shown::number, false,
       of_set([](const SetMeasures& m) { return m.layers[m.crest_layer].crest; })},
      {"kurtosis", "Kurtosis", "largest layer mean of the kurtosis over channels" + over + log, geometric,
       Shown::number, false, of_set([](const SetMeasures& m) { return m.layers[m.kurtosis_layer].kurtosis; })},
      {"mmr", "MMR", "largest layer mean of max|h_t| / median|h_t| over the tokens" + over + log, geometric,
       Shown::number, false, of_set([](const SetMeasures& m) { return m.layers[m.mmr_layer].mmr_mean; })},
      {"sink_first", "Sink rate of key 0", sink + over, arithmetic, Shown::share, false,
       of_set([](const SetMeasures& m) { return m.sinks.first; })},
      {"lost_int8", "Lost in INT8", "share of |h| that rounds to 0 when max|h| is scaled to 127" + over, arithmetic,
       Shown::share, false, largest_layer([](const LayerMeasure& l) { return l.lost.int8; })},
      {"lost_e4m3", "Lost in E4M3", "share of |h| that rounds to 0 when max|h| is scaled to 448" + over, arithmetic,
       Shown::share, false, largest_layer([](const LayerMeasure& l) { return l.lost.e4m3; })},
      {"beyond_e4m3", "Beyond E4M3", "share of |h| above 448 without scaling" + over, arithmetic, Shown::share, false,
       largest_layer([](const LayerMeasure& l) { return l.beyond_e4m3; })},
  };
}

SeedComparison compare_seeds(const Study& study) {
  SeedComparison comparison;
  if (!study.has_seeds()) return comparison;
  comparison.measures = seed_measures(study);
  for (const SeedMeasure& measure : comparison.measures) {
    auto& row = comparison.figures.emplace_back();
    for (const Group& group : study.groups) row.push_back(figure_of(study, measure, group));
    if (!study.baseline_group) continue;
    const SeedFigure& base = row[*study.baseline_group];
    const Run& base_run = study.runs[study.groups[*study.baseline_group].runs.front()];
    for (std::size_t g = 0; g < row.size(); ++g) {
      const Run& own_run = study.runs[study.groups[g].runs.front()];
      if (g == *study.baseline_group || (measure.of_tokens && !same_tokens(own_run, base_run))) continue;
      compare(measure, base, row[g]);
      if (!row[g].compared) continue;
      ++comparison.compared;
      comparison.apart += row[g].apart ? 1 : 0;
      comparison.apart_by_chance += chance_to_separate(row[g].estimate.n, base.estimate.n);
    }
  }
  return comparison;
}

std::string shown_value(const SeedMeasure& measure, double value) {
  if (!std::isfinite(value)) return "unknown";
  return measure.shown == Shown::share  ? format_share(value)
         : measure.shown == Shown::nats ? format_number(value, 4)
                                        : format_number(value);
}

std::string change_words(const SeedMeasure& measure, const SeedFigure& figure) {
  if (!figure.apart) return {};
  const bool quotient = measure.averaging == Averaging::geometric;
  const bool higher = quotient ? figure.change > 1.0 : figure.change > 0.0;
  const std::string size =
      fmt::format("{}{}", higher ? "+" : "−",
                  format_number(std::abs(figure.change) * (measure.shown == Shown::share ? 100.0 : 1.0)));
  return fmt::format("{}, {}{}", higher ? "higher" : "lower", quotient ? "×" + format_number(figure.change) : size,
                     measure.shown == Shown::share && !quotient ? " points" : "");
}

std::vector<std::string> seed_remarks(const Study& study, const SeedComparison& comparison) {
  std::vector<std::string> out;
  if (!study.has_seeds()) return out;
  std::size_t fewest = study.runs.size();
  std::vector<std::string> single;
  for (const Group& group : study.groups) {
    if (!group.repeated()) single.push_back(group.label);
  }
  for (const auto& figures : comparison.figures) {
    for (const SeedFigure& figure : figures) {
      if (figure.estimate.n > 1) fewest = std::min(fewest, figure.estimate.n);
    }
  }
  if (fewest <= 3) {
    out.push_back(fmt::format(
        "With {} seeds the interval is wide, {} standard deviations to either side of the mean: "
        "that two overlap does not say that the variants are alike.",
        fewest, format_number(t_quantile(static_cast<double>(fewest) - 1.0) / std::sqrt(static_cast<double>(fewest)))));
  }
  if (!single.empty()) {
    out.push_back(fmt::format("One seed only, so without an interval or a comparison: {}.", fmt::join(single, "; ")));
  }
  add_missing_runs(study, out);
  add_unknown_runs(study, comparison, out);
  return out;
}

std::string seed_rule(const Study& study, const SeedComparison& comparison) {
  if (!study.has_seeds()) return {};
  std::string text =
      "Mean and 95 % confidence interval over the seeds, mean ± t(n − 1) s / √n with Student's t; of quantities marked "
      "“geometric” worked out of the logarithms, of shares cut at 0 and 100 %. ";
  if (!study.baseline_group) return text + "No baseline was found, so nothing is compared.";
  const std::string& base = study.groups[*study.baseline_group].label;
  if (comparison.compared == 0) {
    return text + fmt::format("Nothing is compared with {}: no figure has an interval on both sides.", base);
  }
  return text +
         fmt::format(
             "A difference to {0} is marked only where the two intervals do not overlap: {1} of {2} comparisons. "
             "Chance marks some of many: if seeds were all that differs, about {3} of {2} (values normal, of "
             "equal spread), and whatever their spread at most {4}.",
             base, comparison.apart, comparison.compared, format_number(comparison.apart_by_chance, 2),
             format_number(0.05 * static_cast<double>(comparison.compared), 2));
}

}  // namespace headroom::report
