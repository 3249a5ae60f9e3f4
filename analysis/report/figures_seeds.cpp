// The variants over their seeds: each seed a point, the mean with its interval, the baseline's interval behind all.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"
#include "analysis/report/seeds.h"

namespace headroom::report {
namespace {

constexpr double kLogFrom = 20.0;  // spread of the values from which a logarithmic axis shows more
constexpr const char* kShownKeys[] = {"perplexity", "ratio", "max", "kurtosis", "sink_first"};

double on_axis(const SeedMeasure& measure, double value) {
  return measure.shown == Shown::share ? 100.0 * value : value;
}

void add_group(const Study& study, const SeedMeasure& measure, const SeedFigure& figure, std::size_t group,
               Panel& panel) {
  const auto color = static_cast<int>(study.groups[group].runs.front());
  const auto row = static_cast<double>(group);
  Series seeds{.name = "one seed", .color = color, .stroke = Stroke::points, .opacity = 0.55, .in_legend = false};
  for (std::size_t i = 0; i < figure.runs.size(); ++i) {
    seeds.x.push_back(row);
    seeds.y.push_back(on_axis(measure, figure.values[i]));
    seeds.notes.push_back(study.runs[figure.runs[i]].label);
  }
  const Estimate& e = figure.estimate;
  const std::string words = change_words(measure, figure);
  const std::string which = figure.runs.size() == 1
                                ? "one seed, no interval"
                                : fmt::format("mean of {} seeds{}{}", e.n, words.empty() ? "" : "; ", words);
  Series mean{.name = study.groups[group].label,
              .color = color,
              .in_legend = false,
              .x = {row},
              .y = {on_axis(measure, e.mean)},
              .notes = {which},
              .low = {on_axis(measure, e.low)},
              .high = {on_axis(measure, e.high)}};
  panel.series.push_back(std::move(seeds));
  panel.series.push_back(std::move(mean));
}

Panel measure_panel(const Study& study, const SeedMeasure& measure, const std::vector<SeedFigure>& figures) {
  Panel panel;
  panel.kind = PanelKind::intervals;
  panel.title = measure.title;
  if (measure.averaging == Averaging::geometric) panel.title += " (geometric)";
  panel.y.label = measure.shown == Shown::share ? "%" : measure.title;
  double least = HUGE_VAL;
  double most = 0.0;
  for (std::size_t group = 0; group < figures.size(); ++group) {
    panel.x.categories.push_back(study.groups[group].label);
    add_group(study, measure, figures[group], group, panel);
    for (const double value : figures[group].values) {
      least = std::fmin(least, value);
      most = std::fmax(most, value);
    }
  }
  panel.y.log = measure.averaging == Averaging::geometric && most > kLogFrom * least;
  if (study.baseline_group) {
    const Estimate& base = figures[*study.baseline_group].estimate;
    if (base.has_interval()) {
      panel.band =
          Band{on_axis(measure, base.low), on_axis(measure, base.high), study.groups[*study.baseline_group].label};
    }
  }
  return panel;
}

}  // namespace

Section seeds_section(const Study& study, const SeedComparison& comparison) {
  Section section{.id = "over-seeds", .title = "Variants over seeds"};
  if (comparison.measures.empty()) return section;
  Figure figure{.id = "seeds",
                .title = "Seeds, their mean and its 95 % confidence interval",
                .caption =
                    "Small dots: single seeds. Large dot and bar: the mean and its interval by Student's t; a variant "
                    "with one seed has no bar, one with a seed that is not finite no mean."};
  View view{.columns = 3, .shared = false, .svg = "seeds"};
  for (const char* key : kShownKeys) {
    for (std::size_t m = 0; m < comparison.measures.size(); ++m) {
      const auto& figures = comparison.figures[m];
      const bool any =
          std::any_of(figures.begin(), figures.end(), [](const SeedFigure& f) { return !f.values.empty(); });
      if (comparison.measures[m].key == key && any) {
        view.panels.push_back(measure_panel(study, comparison.measures[m], figures));
        if (view.panels.back().band) {
          view.note = fmt::format("Shaded: the interval of {}; only bars that lie wholly outside it are differences",
                                  study.groups[*study.baseline_group].label);
        }
      }
    }
  }
  figure.views.push_back(std::move(view));
  add_figure(section, std::move(figure));
  return section;
}

}  // namespace headroom::report
