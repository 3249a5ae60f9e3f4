#include "analysis/report/comparisons.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <set>

#include "analysis/report/format.h"
#include "analysis/report/verdicts.h"

namespace headroom::report {
namespace {

std::string direction(double value, double base) {
  const double factor = value / base;
  if (std::abs(factor - 1.0) < 0.02) return fmt::format("about the same ({})", format_number(value));
  const double size = factor > 1.0 ? factor : 1.0 / factor;
  const std::string amount = size >= 2.0 ? fmt::format("{} times", format_number(size, 2))
                                         : fmt::format("{:.0f} %", std::abs(factor - 1.0) * 100.0);
  return fmt::format("{} {} ({} against {})", amount, factor > 1.0 ? "larger" : "smaller", format_number(value),
                     format_number(base));
}

// "max |h| is 30 % smaller (...)"; nothing where either is not finite, or the base is 0.
void add_direction(const std::string& what, double value, double base, std::vector<std::string>& parts) {
  if (!std::isfinite(value) || !std::isfinite(base) || base <= 0.0 || value <= 0.0) return;
  parts.push_back(fmt::format("{} is {}", what, direction(value, base)));
}

std::vector<std::string> activation_parts(const Study& study, std::size_t run) {
  std::vector<std::string> parts;
  const auto pair = study.common_snapshots(run);
  if (!pair) return parts;
  const SetMeasures* m = main_set(pair->own->sets);
  const SetMeasures* b = m ? find_set(pair->base->sets, m->set.key) : nullptr;
  if (!b) return parts;
  add_direction("max |h|", m->max().max, b->max().max, parts);
  add_direction("the largest max/median", m->ratio().ratio(), b->ratio().ratio(), parts);
  add_direction("the largest crest factor", m->layers[m->crest_layer].crest, b->layers[b->crest_layer].crest, parts);
  const bool latest =
      pair->own == &study.runs[run].history.back() && pair->base == &study.runs[*study.baseline].history.back();
  if (!parts.empty() && !latest) {
    parts.front() = fmt::format("at {} training tokens, the latest snapshots in common, {}",
                                format_amount(pair->own->tokens), parts.front());
  }
  return parts;
}

// The runs at both ends of a figure, where it differs.
template <class Figure>
std::string extremes(const Study& study, const std::string& what, Figure figure) {
  std::optional<std::size_t> low;
  std::optional<std::size_t> high;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const double value = figure(run);
    if (!std::isfinite(value)) continue;
    if (!low || value < figure(*low)) low = run;
    if (!high || value > figure(*high)) high = run;
  }
  if (!low || format_number(figure(*low)) == format_number(figure(*high))) return {};
  return fmt::format("{} from {} ({}) to {} ({}), a factor of {}.", what, format_number(figure(*low)),
                     study.runs[*low].label, format_number(figure(*high)), study.runs[*high].label,
                     format_number(figure(*high) / figure(*low)));
}

// Whether the last snapshots were taken after equally many training tokens.
bool same_tokens(const Study& study) {
  std::set<double> tokens;
  for (const Run& run : study.runs) {
    if (!run.history.empty()) tokens.insert(run.history.back().tokens);
  }
  return tokens.size() < 2;
}

// Runs with massive layers, named by where they have them.
std::string massive_words(const Study& study) {
  std::vector<std::string> massive;
  std::vector<std::size_t> clean, unknown;
  std::size_t with_massive = 0;
  for (const Group& group : study.groups) {
    std::vector<std::size_t> everywhere, only_without_bos;
    for (const std::size_t run : group.runs) {
      const SetMeasures* main = study.main(run);
      if (!main) continue;
      const auto any = any_massive(study, run);
      const bool clean_with_bos = main->set.bos && main->verdict() == Verdict::clean;
      (!any ? unknown : !*any ? clean : clean_with_bos ? only_without_bos : everywhere).push_back(run);
    }
    with_massive += everywhere.size() + only_without_bos.size();
    for (std::string& name : study.names(everywhere)) massive.push_back(std::move(name));
    for (const std::string& name : study.names(only_without_bos)) massive.push_back(name + " (only without BOS)");
  }
  const std::size_t all = with_massive + clean.size() + unknown.size();
  if (all == 0) return {};
  std::string text;
  if (massive.empty() && unknown.empty()) {
    text = fmt::format("None of the {} runs with a snapshot has a massive layer", all);
  } else if (with_massive == all) {
    text = fmt::format("All {} runs with a snapshot have massive layers: {}", all, fmt::join(massive, ", "));
  } else {
    text = fmt::format("Massive layers in {} of {} runs", with_massive, all);
    if (!massive.empty()) text += fmt::format(": {}", fmt::join(massive, ", "));
    if (!clean.empty()) text += fmt::format("; none in {}", fmt::join(study.names(clean), ", "));
    if (!unknown.empty()) text += fmt::format("; unknown in {}, not finite", fmt::join(study.names(unknown), ", "));
  }
  return text + ".";
}

}  // namespace

std::string comparison_finding(const Study& study, std::size_t run) {
  if (!study.baseline || *study.baseline == run) return {};
  std::vector<std::string> parts = activation_parts(study, run);
  const EvalPoint* mine = study.evaluation(run);
  const EvalPoint* theirs = study.evaluation(*study.baseline);
  if (study.evaluated_tokens && mine && theirs) {
    add_direction(fmt::format("held-out perplexity at {} training tokens", format_amount(*study.evaluated_tokens)),
                  mine->perplexity, theirs->perplexity, parts);
  }
  if (parts.empty()) return {};
  return fmt::format("Against {}: {}.", study.runs[*study.baseline].label, fmt::join(parts, "; "));
}

std::vector<std::string> across_runs(const Study& study) {
  std::vector<std::string> out;
  if (study.runs.size() < 2) return out;
  const auto of_set = [&](auto figure) {
    return [&study, figure](std::size_t run) { return study.main(run) ? figure(*study.main(run)) : kUnknown; };
  };
  const auto add = [&](std::string text) {
    if (!text.empty()) out.push_back(std::move(text));
  };
  add(massive_words(study));
  if (study.has_seeds()) return out;  // the rest is of groups
  const std::string when = same_tokens(study) ? "" : ", at each run's last snapshot,";
  add(extremes(study, fmt::format("The largest |h|{} ranges", when),
               of_set([](const SetMeasures& m) { return m.max().max; })));
  add(extremes(study, fmt::format("The largest max/median of a layer{} ranges", when),
               of_set([](const SetMeasures& m) { return m.ratio().ratio(); })));
  if (study.evaluated_tokens) {
    add(extremes(
        study, fmt::format("Held-out perplexity at {} training tokens ranges", format_amount(*study.evaluated_tokens)),
        [&](std::size_t run) {
          const EvalPoint* point = study.evaluation(run);
          return point ? point->perplexity : kUnknown;
        }));
  }
  return out;
}

}  // namespace headroom::report
