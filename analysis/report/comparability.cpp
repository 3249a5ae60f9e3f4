#include "analysis/report/comparability.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <type_traits>

#include "analysis/report/format.h"

namespace headroom::report {
namespace {

// "12 k (a), 20 k (b)"; seeds of a group with the same figure together.
template <class Figure>
std::string each(const Study& study, const std::vector<std::size_t>& runs, Figure figure) {
  std::vector<std::string> parts;
  std::vector<std::size_t> rest = runs;
  while (!rest.empty()) {
    const std::size_t first = rest.front();
    std::vector<std::size_t> alike;
    std::erase_if(rest, [&](std::size_t run) {
      const bool same = &study.group_of(run) == &study.group_of(first) && figure(run) == figure(first);
      if (same) alike.push_back(run);
      return same;
    });
    parts.push_back(fmt::format("{} ({})", format_amount(figure(first)), fmt::join(study.names(alike), ", ")));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

template <class Figure>
bool differ(const std::vector<std::size_t>& runs, Figure figure) {
  return std::any_of(runs.begin(), runs.end(), [&](std::size_t run) { return figure(run) != figure(runs.front()); });
}

// Runs for which `has` holds; not those that ended early, which the remarks on seeds name.
template <class Condition>
std::vector<std::size_t> runs_with(const Study& study, Condition has) {
  std::vector<std::size_t> runs;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (has(study.runs[run]) && !study.ended_early(run)) runs.push_back(run);
  }
  return runs;
}

std::string training_length(const Study& study) {
  const auto runs = runs_with(study, [](const Run& run) { return run.metrics && !run.metrics->steps.empty(); });
  const auto tokens = [&](std::size_t run) { return study.runs[run].tokens_seen(); };
  if (!differ(runs, tokens)) return {};
  const std::size_t shortest =
      *std::min_element(runs.begin(), runs.end(), [&](std::size_t a, std::size_t b) { return tokens(a) < tokens(b); });
  return fmt::format("The runs differ in length: {}. Training losses are compared at {} tokens, where {} ends.",
                     each(study, runs, tokens), format_amount(study.equal_tokens), study.runs[shortest].label);
}

void add_evaluations(const Study& study, std::vector<std::string>& out) {
  const auto without = runs_with(study, [](const Run& run) { return run.metrics && run.metrics->evaluations.empty(); });
  const auto runs = runs_with(study, [](const Run& run) { return run.metrics && !run.metrics->evaluations.empty(); });
  if (!without.empty()) {
    out.push_back(fmt::format("Never evaluated on the held-out split, so without a perplexity: {}.",
                              fmt::join(study.names(without), ", ")));
  }
  const auto last = [&](std::size_t run) { return study.runs[run].metrics->evaluations.back().tokens; };
  if (runs.size() < 2 || (study.evaluated_tokens && !differ(runs, last))) return;
  if (!study.evaluated_tokens) {
    out.push_back(
        fmt::format("The runs were never evaluated after equally many training tokens: perplexities are each run's "
                    "last, at {}, and "
                    "do not compare.",
                    each(study, runs, last)));
    return;
  }
  const std::size_t first =
      *std::min_element(runs.begin(), runs.end(), [&](std::size_t a, std::size_t b) { return last(a) < last(b); });
  const std::string reason = last(first) == *study.evaluated_tokens
                                 ? fmt::format("{} was not evaluated later", study.runs[first].label)
                                 : fmt::format("the last evaluations are at {}", each(study, runs, last));
  out.push_back(
      fmt::format("Held-out loss and perplexity are compared at {} training tokens, the latest evaluation in "
                  "common: {}.",
                  format_amount(*study.evaluated_tokens), reason));
}

std::string snapshot_steps(const Study& study) {
  const auto runs = runs_with(study, [](const Run& run) { return !run.history.empty(); });
  const auto tokens = [&](std::size_t run) { return study.runs[run].history.back().tokens; };
  if (runs.size() < 2 || !differ(runs, tokens)) return {};
  return fmt::format(
      "The last snapshots are of different training tokens: {}. Between such runs the tables show no change "
      "of activations.",
      each(study, runs, tokens));
}

// How many different values the runs have, unknown ones not counted.
template <class Value>
std::size_t kinds(const Study& study, Value value) {
  using Kind = std::remove_cvref_t<decltype(value(study.runs.front()))>;
  std::set<Kind> seen;
  for (const Run& run : study.runs) seen.insert(value(run));
  seen.erase(Kind{});
  return seen.size();
}

std::string vocabularies(const Study& study) {
  const std::size_t count = std::max(kinds(study, [](const Run& run) { return run.facts.tokenizer; }),
                                     kinds(study, [](const Run& run) { return run.facts.vocab_size; }));
  if (count < 2) return {};
  return fmt::format(
      "The runs use {} tokenizers or vocabularies: their losses and perplexities are per different tokens "
      "and do not compare.",
      count);
}

std::string corpora(const Study& study) {
  const std::size_t count = kinds(study, [](const Run& run) { return run.facts.corpus; });
  if (count < 2) return {};
  return fmt::format(
      "The runs were trained on {} different corpora, and their held-out splits and calibration sequences "
      "are of those.",
      count);
}

// Probe sets go by their texts, but calibration sequences have no name: these are held against each other by their ids.
std::string probes(const Study& study) {
  const auto runs = runs_with(study, [](const Run& run) { return run.last.has_value(); });
  std::vector<std::size_t> others;
  const auto calibration = [&](std::size_t run) {
    const SnapshotFile& file = *study.runs[run].snapshot();
    std::vector<std::int32_t> ids;
    for (std::int64_t s = 0; s < file.dims.sequences; ++s) {
      if (file.probe.kind[static_cast<std::size_t>(s)] == "sentence") continue;
      const auto row = file.probe.ids.begin() + static_cast<std::ptrdiff_t>(s * file.dims.tokens);
      ids.insert(ids.end(), row, row + file.probe.lengths[static_cast<std::size_t>(s)]);
      ids.push_back(-1);
    }
    return ids;
  };
  for (std::size_t i = 1; i < runs.size(); ++i) {
    if (calibration(runs[i]) != calibration(runs.front())) others.push_back(runs[i]);
  }
  if (others.empty()) return {};
  return fmt::format("The calibration sequences of {} are not those of {}: their activations are of different text.",
                     fmt::join(study.names(others), ", "), study.runs[runs.front()].label);
}

}  // namespace

std::vector<std::string> comparability_remarks(const Study& study) {
  std::vector<std::string> out;
  if (study.runs.size() < 2) return out;
  const auto add = [&](std::string text) {
    if (!text.empty()) out.push_back(std::move(text));
  };
  add(training_length(study));
  add_evaluations(study, out);
  add(snapshot_steps(study));
  add(vocabularies(study));
  add(corpora(study));
  add(probes(study));
  return out;
}

}  // namespace headroom::report
