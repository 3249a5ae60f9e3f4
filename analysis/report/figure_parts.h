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

// A probe set over the runs: theirs are the same when their keys are.
struct SharedSet {
  std::string key;
  std::string name;  // as a selector shows it: unique in a report
  std::string stem;  // in file names: "calibration-bos", "sentence-1-no-bos"
  bool sentence = false;
};

// The probe sets that any run has, in the first one's order.
std::vector<SharedSet> shared_sets(const Study& study);
std::vector<SharedSet> shared_sentences(const Study& study);
Selector selector_of(const std::string& title, const std::vector<SharedSet>& sets);
// A run's measures of the set, nullptr without it.
const SetMeasures* find_set(const Study& study, std::size_t run, const SharedSet& set);

// An empty panel in a run's colour.
Panel run_panel(const Study& study, std::size_t run, PanelKind kind);

// One line a run over its layers: `figure` of each layer of the set.
Panel layer_lines(const Study& study, const SharedSet& set, const std::string& title, const std::string& label,
                  bool log, const std::function<double(const LayerMeasure&)>& figure);

// Columns that look well for so many panels.
int columns_for(std::size_t panels);

// Gives all heat maps of a view, or of all views of a figure, one scale.
void share_scale(std::vector<Panel>& panels, const std::string& label, bool log, Palette palette, double decades = 5.0);
void share_scale(std::vector<View>& views, const std::string& label, bool log, Palette palette, double decades = 5.0);

// Indices [0, count) of which at most `most` are shown: the first ones, and those that must be, in rising order. All
// when `most` suffices.
std::vector<std::int64_t> shown_of(std::int64_t count, std::int64_t most, const std::vector<std::int64_t>& must);
// The same, but spread evenly over [0, count).
std::vector<std::int64_t> spread_of(std::int64_t count, std::int64_t most, const std::vector<std::int64_t>& must);
// "layers 0, 4 and 8 of 12 are shown"; empty when all are.
std::string left_out_words(const char* what, const std::vector<std::int64_t>& shown, std::int64_t count);

// Tokens as axis labels: their positions and pieces.
std::vector<std::string> token_names(const SnapshotFile& snapshot, std::int64_t sequence,
                                     const std::vector<std::int64_t>& tokens);

// figures_snapshots.cpp: layer by snapshot; without views unless some run has two snapshots.
Figure snapshots_figure(const Study& study);

// Gives views whose file names coincide, as run labels may make them, different ones.
void make_file_names_unique(std::vector<Section>& sections);

// Adds the figure unless it has nothing to show.
void add_figure(Section& section, Figure figure);

}  // namespace headroom::report
