#include "analysis/report/figure_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "analysis/report/format.h"
#include "analysis/report/places.h"

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

std::vector<SharedSet> shared_sets(const Study& study) {
  std::vector<SharedSet> shared;
  std::vector<std::string> texts;  // of sentences; with and without BOS share a number
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets(run)) {
      const ProbeSet& set = m.set;
      if (std::any_of(shared.begin(), shared.end(), [&](const SharedSet& s) { return s.key == set.key; })) continue;
      std::string stem = "calibration";
      if (set.sentence) {
        const auto found = std::find(texts.begin(), texts.end(), set.text);
        stem = fmt::format("sentence-{}", found - texts.begin());
        if (found == texts.end()) texts.push_back(set.text);
      }
      // Long texts are cut in names and may become alike.
      const auto alike =
          std::count_if(shared.begin(), shared.end(), [&](const SharedSet& s) { return s.name.starts_with(set.name); });
      shared.push_back({set.key, alike == 0 ? set.name : fmt::format("{} ({})", set.name, alike + 1),
                        stem + (set.bos ? "-bos" : "-no-bos"), set.sentence});
    }
  }
  return shared;
}

std::vector<SharedSet> shared_sentences(const Study& study) {
  std::vector<SharedSet> shared = shared_sets(study);
  std::erase_if(shared, [](const SharedSet& set) { return !set.sentence; });
  return shared;
}

Selector selector_of(const std::string& title, const std::vector<SharedSet>& sets) {
  Selector selector{title, {}, 0};
  for (const SharedSet& set : sets) selector.options.push_back(set.name);
  return selector;
}

const SetMeasures* find_set(const Study& study, std::size_t run, const SharedSet& set) {
  return find_set(study.sets(run), set.key);
}

Panel run_panel(const Study& study, std::size_t run, PanelKind kind) {
  Panel panel;
  panel.title = study.runs[run].label;
  panel.color = static_cast<int>(run);
  panel.kind = kind;
  return panel;
}

Panel layer_lines(const Study& study, const SharedSet& set, const std::string& title, const std::string& label,
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

std::vector<std::int64_t> shown_of(std::int64_t count, std::int64_t most, const std::vector<std::int64_t>& must) {
  std::set<std::int64_t> shown;
  for (const std::int64_t index : must) {
    if (index >= 0 && index < count) shown.insert(index);
  }
  for (std::int64_t i = 0; i < count && static_cast<std::int64_t>(shown.size()) < most; ++i) shown.insert(i);
  return {shown.begin(), shown.end()};
}

std::vector<std::int64_t> spread_of(std::int64_t count, std::int64_t most, const std::vector<std::int64_t>& must) {
  if (count <= most) return shown_of(count, most, {});
  std::set<std::int64_t> shown;
  for (const std::int64_t index : must) {
    if (index >= 0 && index < count) shown.insert(index);
  }
  const std::int64_t rest = most - static_cast<std::int64_t>(shown.size());
  for (std::int64_t i = 0; i < rest; ++i) shown.insert(i * count / rest);
  return {shown.begin(), shown.end()};
}

std::string left_out_words(const char* what, const std::vector<std::int64_t>& shown, std::int64_t count) {
  if (static_cast<std::int64_t>(shown.size()) == count) return {};
  return fmt::format("{} {} of {} are shown", what, format_ranges(shown), count);
}

std::vector<std::string> token_names(const SnapshotFile& snapshot, std::int64_t sequence,
                                     const std::vector<std::int64_t>& tokens) {
  std::vector<std::string> names;
  for (const std::int64_t t : tokens)
    names.push_back(fmt::format("{} {}", t, shown_piece(piece_at(snapshot, sequence, t))));
  return names;
}

void make_file_names_unique(std::vector<Section>& sections) {
  std::set<std::string> taken;
  for (Section& section : sections) {
    for (Figure& figure : section.figures) {
      for (View& view : figure.views) {
        if (view.svg.empty()) continue;
        const std::string wanted = view.svg;
        for (int again = 2; !taken.insert(view.svg).second; ++again) view.svg = fmt::format("{}-{}", wanted, again);
      }
    }
  }
}

void add_figure(Section& section, Figure figure) {
  const auto has_panels = [](const View& view) { return !view.panels.empty(); };
  if (std::any_of(figure.views.begin(), figure.views.end(), has_panels)) section.figures.push_back(std::move(figure));
}

}  // namespace headroom::report
