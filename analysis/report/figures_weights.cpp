// The weights: what made the activations.
#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/figure_parts.h"
#include "analysis/report/weight_kinds.h"

namespace headroom::report {
namespace {

// Of all runs.
std::vector<std::string> kinds_of(const Study& study) {
  std::vector<std::string> kinds;
  for (const Run& run : study.runs) {
    if (!run.snapshot()) continue;
    for (const std::string& kind : matrix_kinds(run.snapshot()->weights)) {
      if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
    }
  }
  return kinds;
}

// What TVR shrinks each run's matrices to, a dotted line in the run's colour: by layer, since the target may depend on
// it.
void add_targets_by_layer(const Study& study, Panel& panel) {
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const Facts& facts = study.runs[run].facts;
    if (!facts.tvr || facts.tvr_target <= 0.0) continue;
    Series line{.name = "TVR target of " + study.runs[run].label,
                .color = static_cast<int>(run),
                .stroke = Stroke::dotted,
                .x = indices(static_cast<std::size_t>(facts.n_layers))};
    for (std::int64_t layer = 0; layer < facts.n_layers; ++layer) line.y.push_back(facts.tvr_target_of(layer));
    panel.series.push_back(std::move(line));
  }
}

// The mean over the layers, as the lines beside it are.
void add_mean_targets(const Study& study, Panel& panel) {
  std::vector<double> seen;
  for (const Run& run : study.runs) {
    if (!run.facts.tvr || run.facts.tvr_target <= 0.0) continue;
    double sum = 0.0;
    for (std::int64_t layer = 0; layer < run.facts.n_layers; ++layer) sum += run.facts.tvr_target_of(layer);
    const double mean = sum / static_cast<double>(run.facts.n_layers);
    if (std::find(seen.begin(), seen.end(), mean) != seen.end()) continue;
    seen.push_back(mean);
    panel.rules.push_back(
        {mean, fmt::format("TVR target {:.3g}{}", mean, run.facts.tvr_layer_scaled ? ", mean of layers" : "")});
  }
}

Panel by_layer(const Study& study, const std::string& kind) {
  Panel panel;
  panel.title = kind;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "std of weights"};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (!study.runs[run].snapshot()) continue;
    Series line{.name = study.runs[run].label, .color = static_cast<int>(run)};
    for (const auto& [layer, std] : layer_stds(study.runs[run].snapshot()->weights, kind)) {
      line.x.push_back(static_cast<double>(layer));
      line.y.push_back(std);
    }
    if (!line.x.empty()) panel.series.push_back(std::move(line));
  }
  add_targets_by_layer(study, panel);
  return panel;
}

Panel by_tokens(const Study& study, const std::string& kind) {
  Panel panel;
  panel.title = kind;
  panel.x = {.label = "training tokens"};
  panel.y = {.label = "std, mean of layers"};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    Series line{.name = study.runs[run].label, .color = static_cast<int>(run)};
    for (const HistoryPoint& point : study.runs[run].history) {
      line.x.push_back(point.tokens);
      line.y.push_back(mean_std(point.weights, kind));
    }
    if (!line.x.empty()) panel.series.push_back(std::move(line));
  }
  add_mean_targets(study, panel);
  return panel;
}

}  // namespace

Section weights_section(const Study& study) {
  Section section{.id = "weights", .title = "Weights"};
  const auto kinds = kinds_of(study);
  if (kinds.empty()) {
    section.intro = "No snapshot holds the statistics of a block's matrices.";
    return section;
  }
  Figure figure{.id = "weight-std",
                .title = "Standard deviation of the weight matrices",
                .caption = "Of the logical matrices, mean subtracted."};
  if (std::any_of(study.runs.begin(), study.runs.end(), [](const Run& run) { return run.facts.tvr; })) {
    figure.caption += " Target Variance Rescaling pulls a run's matrices above the target drawn back to it.";
  }
  figure.selectors = {{"against", {"layer, last snapshot", "training tokens"}}};
  View layers{.columns = columns_for(kinds.size()), .svg = "weight-std-layers"};
  View tokens{.columns = columns_for(kinds.size()), .svg = "weight-std-tokens"};
  for (const std::string& kind : kinds) {
    layers.panels.push_back(by_layer(study, kind));
    tokens.panels.push_back(by_tokens(study, kind));
  }
  figure.views = {std::move(layers), std::move(tokens)};
  add_figure(section, std::move(figure));
  return section;
}

}  // namespace headroom::report
