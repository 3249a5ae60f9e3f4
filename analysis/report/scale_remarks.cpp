// What runs of this size can and cannot show (reference: arXiv 2410.10781 on when attention sinks form, arXiv
// 2503.17500 on TVR's quality), worked out from the runs' own numbers.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "analysis/report/comparability.h"
#include "analysis/report/format.h"
#include "analysis/report/seeds.h"
#include "analysis/report/study.h"
#include "analysis/report/verdicts.h"

namespace headroom::report {
namespace {

// arXiv 2410.10781, on a model of 60 M parameters: no sinks within 50-100 M training tokens, sinks after 1-2 B.
constexpr double kPublishedParameters = 60e6;
constexpr double kNoneWithin = 1e8;
constexpr double kFirstSeen = 1e9;
constexpr double kFormed = 2e9;

using Runs = std::vector<std::size_t>;

std::string names(const Study& study, const Runs& runs) {
  if (runs.size() == study.runs.size() && runs.size() > 3) return fmt::format("All {} runs", runs.size());
  return fmt::format("{}", fmt::join(study.names(runs), ", "));
}

// "12 k", or "12 k to 20 k" over the runs.
template <class Figure>
std::string range_words(const Study& study, const Runs& runs, Figure figure) {
  double least = figure(study.runs[runs.front()]);
  double most = least;
  for (const std::size_t run : runs) {
    least = std::min(least, figure(study.runs[run]));
    most = std::max(most, figure(study.runs[run]));
  }
  const std::string from = format_amount(least);
  const std::string to = format_amount(most);
  return from == to ? to : fmt::format("{} to {}", from, to);
}

double tokens_of(const Run& run) {
  return run.tokens_seen();
}

// What to make of these runs' verdicts, from what they are.
std::string reading(const Study& study, const Runs& runs) {
  Runs massive;
  double largest = 0.0;
  bool measured = false;
  for (const std::size_t run : runs) {
    if (any_massive(study, run).value_or(false)) massive.push_back(run);
    for (const SetMeasures* m : {study.main(run), study.without_bos(run)}) {
      if (!m || !std::isfinite(m->max().max)) continue;
      measured = true;
      largest = std::max(largest, m->max().max);
    }
  }
  if (!massive.empty()) {
    return fmt::format(
        ". Layers pass both tests all the same ({}): look at where they are before trusting the comparison "
        "with that scale.",
        names(study, massive));
  }
  if (!measured) return ".";
  const std::string absolute = format_number(study.thresholds.absolute);
  if (largest <= study.thresholds.absolute) {
    return fmt::format(
        ". Read the scale-free measures and their trends; that max|h| stays at {}, below {}, says nothing "
        "about a mitigation.",
        format_number(largest), absolute);
  }
  return fmt::format(
      ". max|h| does reach {}, above {}, but nowhere {} times the median: read the ratios, not the verdict.",
      format_number(largest), absolute, format_number(study.thresholds.ratio));
}

// One remark on the runs that saw between `low` and `high` training tokens.
std::string stretch_remark(const Study& study, const Runs& runs, double low, double high) {
  std::string text =
      fmt::format("{} saw {} training tokens, ", names(study, runs), range_words(study, runs, tokens_of));
  double most = 0.0;
  for (const std::size_t run : runs) most = std::max(most, tokens_of(study.runs[run]));
  if (high <= kFirstSeen) {
    text += fmt::format(
        "{} of the 1 B after which attention sinks were first seen to form on a 60 M model (arXiv 2410.10781)",
        format_share(most / kFirstSeen));
    if (low == 0.0) text += ", which reports none at all within 50–100 M";
    return text + reading(study, runs);
  }
  if (high <= kFormed) {
    return text +
           "within the 1–2 B in which attention sinks form on a 60 M model (arXiv 2410.10781): more training may "
           "change the verdict.";
  }
  return text + "past the 1–2 B in which attention sinks form on a 60 M model (arXiv 2410.10781).";
}

void add_stretches(const Study& study, std::vector<Finding>& out) {
  constexpr std::array kBounds = {0.0, kNoneWithin, kFirstSeen, kFormed, HUGE_VAL};
  for (std::size_t i = 0; i + 1 < kBounds.size(); ++i) {
    Runs runs;
    for (std::size_t run = 0; run < study.runs.size(); ++run) {
      const double tokens = study.runs[run].tokens_seen();
      if (tokens > kBounds[i] && tokens <= kBounds[i + 1]) runs.push_back(run);
    }
    if (!runs.empty()) out.push_back({-1, stretch_remark(study, runs, kBounds[i], kBounds[i + 1])});
  }
}

// Those token counts are one model's; a run of another size by more than a factor of two reaches them otherwise.
void add_parameters(const Study& study, std::vector<Finding>& out) {
  Runs smaller;
  Runs larger;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const double parameters = study.runs[run].facts.parameters;
    if (parameters <= 0.0) continue;
    if (parameters < kPublishedParameters / 2.0) smaller.push_back(run);
    if (parameters > kPublishedParameters * 2.0) larger.push_back(run);
  }
  for (const auto& [runs, words] : {std::pair{&smaller, "smaller"}, std::pair{&larger, "larger"}}) {
    if (runs->empty()) continue;
    const std::string amounts = range_words(study, *runs, [](const Run& run) { return run.facts.parameters; });
    out.push_back(
        {-1, fmt::format("{} with {} parameters {} {} than that model of 60 M: its token counts are a guide here, "
                         "no threshold.",
                         names(study, *runs), amounts, runs->size() == 1 ? "is" : "are", words)});
  }
}

void add_shapes(const Study& study, std::vector<Finding>& out) {
  std::vector<std::string> short_context;
  std::vector<std::string> small_heads;
  for (const Run& run : study.runs) {
    if (run.facts.seq_len > 0 && run.facts.seq_len <= 128)
      short_context.push_back(fmt::format("{} ({})", run.label, run.facts.seq_len));
    if (run.facts.head_dim > 0 && run.facts.head_dim < 64)
      small_heads.push_back(fmt::format("{} ({})", run.label, run.facts.head_dim));
  }
  const auto list = [&](const std::vector<std::string>& some) {
    return some.size() == study.runs.size() && some.size() > 3
               ? fmt::format("all {} runs, e.g. {}", some.size(), some.front())
               : fmt::format("{}", fmt::join(some, ", "));
  };
  if (!short_context.empty()) {
    out.push_back(
        {-1, fmt::format("A context of at most 128 tokens suppresses attention sinks; it is that short in {}.",
                         list(short_context))});
  }
  if (!small_heads.empty()) {
    out.push_back(
        {-1, fmt::format("Heads of at least 64 channels favour sinks, heads of 8 suppress them; below 64 are {}.",
                         list(small_heads))});
  }
}

double matrices_rescaled(const Run& run) {
  double rescaled = 0.0;
  if (run.metrics) {
    for (const TvrEvent& event : run.metrics->tvr) rescaled += event.rescaled;
  }
  return rescaled;
}

std::string idle_tvr(const std::string& label) {
  return fmt::format(
      "TVR rescaled no matrix of {}: no deviation passed its threshold, so this run shows what its other settings do, "
      "not TVR.",
      label);
}

constexpr const char* kPenaltyExpected =
    " TVR trailed the baseline until about 50 B of 100 B tokens in the published runs: a penalty this early is "
    "expected, "
    "not evidence against it.";

// What TVR costs so far: the measured difference, and whether a penalty is to be expected.
void add_tvr(const Study& study, std::vector<Finding>& out) {
  if (!study.baseline || !study.evaluated_tokens) return;
  const EvalPoint* base = study.evaluation(*study.baseline);
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const EvalPoint* own = study.evaluation(run);
    if (run == *study.baseline || !study.runs[run].facts.tvr || !own || !base) continue;
    if (matrices_rescaled(study.runs[run]) == 0.0) {
      out.push_back({-1, idle_tvr(study.runs[run].label)});
      continue;
    }
    const double difference = own->loss - base->loss;
    if (!std::isfinite(difference)) continue;
    std::string text =
        fmt::format("After {} training tokens the held-out loss of {} is {} nats {} that of {}.",
                    format_amount(*study.evaluated_tokens), study.runs[run].label, format_number(std::abs(difference)),
                    difference > 0.0 ? "above" : "below", study.runs[*study.baseline].label);
    if (difference > 0.0 && *study.evaluated_tokens < 50e9) text += kPenaltyExpected;
    out.push_back({-1, std::move(text)});
  }
}

// The same of groups: a difference is one only where the seeds' intervals say so.
void add_tvr_over_seeds(const Study& study, const SeedComparison& seeds, std::vector<Finding>& out) {
  for (std::size_t m = 0; m < seeds.measures.size(); ++m) {
    if (seeds.measures[m].key != "held_out_loss") continue;
    for (std::size_t g = 0; g < study.groups.size(); ++g) {
      Runs idle;
      for (const std::size_t run : study.groups[g].runs) {
        const bool ran = study.runs[run].metrics && !study.runs[run].metrics->steps.empty();
        if (study.runs[run].facts.tvr && ran && matrices_rescaled(study.runs[run]) == 0.0) idle.push_back(run);
      }
      if (!idle.empty()) out.push_back({-1, idle_tvr(names(study, idle))});
      const SeedFigure& figure = seeds.figures[m][g];
      if (!study.runs[study.groups[g].runs.front()].facts.tvr || !figure.apart || !idle.empty()) continue;
      std::string text =
          fmt::format("After {} training tokens the held-out loss of {}, mean of {} seeds, is {} nats {} that of {}.",
                      format_amount(*study.evaluated_tokens), study.groups[g].label, figure.estimate.n,
                      format_number(std::abs(figure.change)), figure.change > 0.0 ? "above" : "below",
                      study.groups[*study.baseline_group].label);
      if (figure.change > 0.0 && *study.evaluated_tokens < 50e9) text += kPenaltyExpected;
      out.push_back({-1, std::move(text)});
    }
  }
}

}  // namespace

std::vector<Finding> scale_remarks(const Study& study, const SeedComparison& seeds) {
  std::vector<Finding> out;
  add_stretches(study, out);
  add_parameters(study, out);
  add_shapes(study, out);
  add_tvr(study, out);
  add_tvr_over_seeds(study, seeds, out);
  for (std::string& text : comparability_remarks(study)) out.push_back({-1, std::move(text)});
  return out;
}

}  // namespace headroom::report
