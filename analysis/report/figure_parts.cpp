#include "analysis/report/figure_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/format.h"

namespace headroom::report {

std::vector<double> indices(std::size_t count) {
  std::vector<double> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<double>(i));
  return out;
}

std::vector<std::string> index_names(std::size_t count) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(fmt::format("{}", i));
  return out;
}

std::vector<std::string> set_names(const Study& study) {
  std::vector<std::string> names;
  for (const auto& sets : study.sets) {
    for (const SetMeasures& m : sets) {
      if (std::find(names.begin(), names.end(), m.set.name) == names.end()) names.push_back(m.set.name);
    }
  }
  return names;
}

const SetMeasures* find_set(const Study& study, std::size_t run, const std::string& name) {
  for (const SetMeasures& m : study.sets[run]) {
    if (m.set.name == name) return &m;
  }
  return nullptr;
}

Panel run_panel(const Study& study, std::size_t run, PanelKind kind) {
  Panel panel;
  panel.title = study.runs[run].label;
  panel.color = static_cast<int>(run);
  panel.kind = kind;
  return panel;
}

Panel layer_lines(const Study& study, const std::string& set, const std::string& title, const std::string& label,
                  bool log, const std::function<double(const LayerMeasure&)>& figure) {
  Panel panel;
  panel.title = title;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = label, .log = log};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = find_set(study, run, set);
    if (!m) continue;
    Series line{.name = study.runs[run].label, .color = static_cast<int>(run), .x = indices(m->layers.size())};
    for (const LayerMeasure& layer : m->layers) line.y.push_back(figure(layer));
    panel.series.push_back(std::move(line));
  }
  return panel;
}

int columns_for(std::size_t panels) {
  return panels <= 3 ? static_cast<int>(std::max<std::size_t>(1, panels)) : panels == 4 ? 2 : 3;
}

void share_scale(std::vector<Panel>& panels, const std::string& label, bool log, Palette palette, double decades) {
  std::vector<double> all;
  for (const Panel& panel : panels) all.insert(all.end(), panel.cells.begin(), panel.cells.end());
  const ColorScale scale = scale_for(all, label, log, palette, decades);
  for (Panel& panel : panels) panel.scale = scale;
}

void share_scale(std::vector<View>& views, const std::string& label, bool log, Palette palette, double decades) {
  std::vector<double> all;
  for (const View& view : views) {
    for (const Panel& panel : view.panels) all.insert(all.end(), panel.cells.begin(), panel.cells.end());
  }
  const ColorScale scale = scale_for(all, label, log, palette, decades);
  for (View& view : views) {
    for (Panel& panel : view.panels) panel.scale = scale;
  }
}

std::string token_name(const SnapshotFile& snapshot, std::int64_t sequence, std::int64_t token) {
  return fmt::format("{} {}", token, shown_piece(piece_at(snapshot, sequence, token)));
}

void add_figure(Section& section, Figure figure) {
  const auto has_panels = [](const View& view) { return !view.panels.empty(); };
  if (std::any_of(figure.views.begin(), figure.views.end(), has_panels)) section.figures.push_back(std::move(figure));
}

}  // namespace headroom::report
