// Layer by snapshot: what the monitor's two figures of every step cannot show, and all there is when it was off.
#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/figure_parts.h"

namespace headroom::report {
namespace {

struct Measure {
  const char* name;
  const char* stem;
  double (*figure)(const LayerMeasure&);
};
constexpr Measure kMeasures[] = {
    {"largest |h|", "top1", [](const LayerMeasure& l) { return l.max; }},
    {"2nd largest |h|", "top2", [](const LayerMeasure& l) { return l.top[1]; }},
    {"3rd largest |h|", "top3", [](const LayerMeasure& l) { return l.top[2]; }},
    {"median |h|", "median", [](const LayerMeasure& l) { return l.median; }},
    {"max / median", "ratio", [](const LayerMeasure& l) { return l.ratio(); }},
    {"crest factor", "crest", [](const LayerMeasure& l) { return l.crest; }},
};

// Layers by the snapshots that hold the set; empty when none does.
Panel history_panel(const Study& study, std::size_t run, const SharedSet& set, const Measure& measure) {
  std::vector<const SetMeasures*> columns;
  Panel panel = run_panel(study, run, PanelKind::heat);
  panel.x.label = "step of the snapshot";
  panel.y.label = "layer";
  for (const HistoryPoint& point : study.runs[run].history) {
    const SetMeasures* m = find_set(point.sets, set.key);
    if (!m) continue;
    columns.push_back(m);
    panel.x.categories.push_back(fmt::format("{}", point.step));
  }
  if (columns.empty()) return panel;
  panel.y.categories = index_names(columns.front()->layers.size());
  for (std::size_t layer = 0; layer < columns.front()->layers.size(); ++layer) {
    for (const SetMeasures* m : columns) panel.cells.push_back(measure.figure(m->layers[layer]));
  }
  return panel;
}

}  // namespace

Figure snapshots_figure(const Study& study) {
  Figure figure{.id = "snapshots",
                .title = "Evolution over the snapshots",
                .caption =
                    "Block outputs of every snapshot, layer by step, averaged over the chosen sequences, which are "
                    "the same at every step."};
  const bool evolves =
      std::any_of(study.runs.begin(), study.runs.end(), [](const Run& run) { return run.history.size() > 1; });
  if (!evolves) return figure;
  const auto sets = shared_sets(study);
  figure.selectors = {selector_of("sequences", sets), {"measure", {}, 0}};
  for (const Measure& measure : kMeasures) figure.selectors[1].options.emplace_back(measure.name);
  for (const SharedSet& set : sets) {
    for (const Measure& measure : kMeasures) {
      View view{.svg = fmt::format("snapshots-{}-{}", measure.stem, set.stem)};
      for (const std::size_t run : study.shown_runs()) {
        Panel panel = history_panel(study, run, set, measure);
        if (!panel.cells.empty()) view.panels.push_back(std::move(panel));
      }
      share_scale(view.panels, measure.name, true, Palette::magma);
      view.columns = columns_for(view.panels.size());
      figure.views.push_back(std::move(view));
    }
  }
  return figure;
}

}  // namespace headroom::report
