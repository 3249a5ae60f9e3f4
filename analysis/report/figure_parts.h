// Pieces that several figures are made of.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "analysis/report/study.h"

namespace headroom::report {

// 0, 1, ..., count - 1, as positions and as names.
std::vector<double> indices(std::size_t count);
std::vector<std::string> index_names(std::size_t count);

// Names of the probe sets that any run has, in the first one's order.
std::vector<std::string> set_names(const Study& study);
// A run's measures of the named set, nullptr without it.
const SetMeasures* find_set(const Study& study, std::size_t run, const std::string& name);

// An empty panel in a run's colour.
Panel run_panel(const Study& study, std::size_t run, PanelKind kind);

// One line a run over its layers: `figure` of each layer of the set.
Panel layer_lines(const Study& study, const std::string& set, const std::string& title, const std::string& label,
                  bool log, const std::function<double(const LayerMeasure&)>& figure);

// Columns that look well for so many panels.
int columns_for(std::size_t panels);

// Gives all heat maps of a view, or of all views of a figure, one scale.
void share_scale(std::vector<Panel>& panels, const std::string& label, bool log, Palette palette, double decades = 5.0);
void share_scale(std::vector<View>& views, const std::string& label, bool log, Palette palette, double decades = 5.0);

// A token as an axis label: its position and piece.
std::string token_name(const SnapshotFile& snapshot, std::int64_t sequence, std::int64_t token);

// Adds the figure unless it has nothing to show.
void add_figure(Section& section, Figure figure);

}  // namespace headroom::report
