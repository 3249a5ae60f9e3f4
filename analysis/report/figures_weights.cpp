// Low precision, and the weights: what the activations cost and what made them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"

namespace headroom::report {
namespace {

Figure headroom_figure(const Study& study) {
  Figure figure{.id = "headroom",
                .title = "Headroom: largest |h| at every site against the formats' ceilings",
                .caption =
                    "Largest layer mean of max|h| at each place where a low-precision run would quantise. The distance "
                    "to a dashed line is the room "
                    "left under that format's largest value without scaling."};
  const auto names = set_names(study);
  figure.selectors = {{"sequences", names}};
  for (const std::string& name : names) {
    Panel panel;
    panel.title = name;
    panel.kind = PanelKind::bars;
    panel.y = {.label = "max |h|", .log = true};
    panel.rules = {{448.0, "E4M3 448"}, {57344.0, "E5M2 57,344 · F16 65,504"}};
    for (const Site site : kSites) {
      std::string words(name_of(site));
      std::replace(words.begin(), words.end(), '_', ' ');
      if (words.ends_with(" output")) words.resize(words.size() - 7);
      panel.x.categories.push_back(words);
    }
    for (std::size_t run = 0; run < study.runs.size(); ++run) {
      const SetMeasures* m = find_set(study, run, name);
      if (!m) continue;
      Series bars{.name = study.runs[run].label, .color = static_cast<int>(run)};
      for (const Site which : kSites) {
        const auto& sites = study.runs[run].snapshot()->sites;
        const auto found = sites.find(which);
        double largest = kUnknown;
        std::int64_t at = -1;
        for (std::int64_t layer = 0; found != sites.end() && layer < found->second.layers; ++layer) {
          double sum = 0.0;
          for (const std::int64_t s : m->set.sequences) sum += found->second.max_abs.at(found->second.at(layer, s));
          sum /= static_cast<double>(m->set.sequences.size());
          if (!(sum <= largest)) {
            largest = sum;
            at = layer;
          }
        }
        bars.y.push_back(largest);
        bars.notes.push_back(found != sites.end() && found->second.layers > 1 ? fmt::format("layer {}", at) : "");
      }
      panel.series.push_back(std::move(bars));
    }
    View view{.svg = "headroom-" + file_stem(name)};
    if (!panel.series.empty()) view.panels.push_back(std::move(panel));
    figure.views.push_back(std::move(view));
  }
  return figure;
}

Figure lost_figure(const Study& study) {
  Figure figure{.id = "lost",
                .title = "Values lost to one scale",
                .caption =
                    "Share of a block output's values that round to zero when the whole tensor is scaled so that its "
                    "largest value just fits: INT8 "
                    "(largest 127) and FP8 E4M3 (largest 448). One massive activation empties the low end; from the "
                    "histograms, bins cut "
                    "geometrically."};
  const auto names = set_names(study);
  figure.selectors = {{"sequences", names}};
  for (const std::string& name : names) {
    View view{.columns = 2, .shared = false, .svg = "lost-" + file_stem(name)};
    view.panels.push_back(layer_lines(study, name, "INT8, one scale a tensor", "% of values", false,
                                      [](const LayerMeasure& l) { return 100.0 * l.lost_int8; }));
    view.panels.push_back(layer_lines(study, name, "FP8 E4M3, one scale a tensor", "% of values", false,
                                      [](const LayerMeasure& l) { return 100.0 * l.lost_e4m3; }));
    figure.views.push_back(std::move(view));
  }
  return figure;
}

// "layers.3.attention.q.weight" -> "attention.q"; empty for what is no matrix of a block.
std::string matrix_kind(const std::string& name) {
  if (!name.starts_with("layers.") || !name.ends_with(".weight") || name.find("norm") != std::string::npos) return {};
  const std::size_t begin = name.find('.', 7);
  return begin + 8 < name.size() ? name.substr(begin + 1, name.size() - begin - 8) : std::string{};
}

std::vector<std::string> matrix_kinds(const Study& study) {
  std::vector<std::string> kinds;
  for (const Run& run : study.runs) {
    if (!run.snapshot()) continue;
    for (const std::string& name : run.snapshot()->weights.names) {
      const std::string kind = matrix_kind(name);
      if (!kind.empty() && std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
    }
  }
  return kinds;
}

// Standard deviation of each layer's matrix of one kind.
std::map<std::int64_t, double> layer_stds(const WeightStatistics& weights, const std::string& kind) {
  std::map<std::int64_t, double> out;
  for (std::size_t i = 0; i < weights.names.size(); ++i) {
    if (matrix_kind(weights.names[i]) == kind) out[weights.layer[i]] = weights.std[i];
  }
  return out;
}

void add_targets(const Study& study, Panel& panel) {
  std::vector<double> seen;
  for (const Run& run : study.runs) {
    if (!run.facts.tvr || run.facts.tvr_target <= 0.0 ||
        std::find(seen.begin(), seen.end(), run.facts.tvr_target) != seen.end())
      continue;
    seen.push_back(run.facts.tvr_target);
    panel.rules.push_back({run.facts.tvr_target, fmt::format("TVR target {:g}", run.facts.tvr_target)});
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
  add_targets(study, panel);
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
      const auto stds = layer_stds(point.contents.weights, kind);
      if (stds.empty()) continue;
      double sum = 0.0;
      for (const auto& [layer, std] : stds) sum += std;
      line.x.push_back(point.tokens);
      line.y.push_back(sum / static_cast<double>(stds.size()));
    }
    if (!line.x.empty()) panel.series.push_back(std::move(line));
  }
  add_targets(study, panel);
  return panel;
}

}  // namespace

Section precision_section(const Study& study) {
  Section section{.id = "precision", .title = "Low precision"};
  if (set_names(study).empty()) {
    section.intro = "No run has a snapshot, so there is nothing to hold against the formats.";
    return section;
  }
  add_figure(section, headroom_figure(study));
  add_figure(section, lost_figure(study));
  return section;
}

Section weights_section(const Study& study) {
  Section section{.id = "weights", .title = "Weights"};
  const auto kinds = matrix_kinds(study);
  if (kinds.empty()) {
    section.intro = "No snapshot holds the statistics of a block's matrices.";
    return section;
  }
  Figure figure{.id = "weight-std",
                .title = "Standard deviation of the weight matrices",
                .caption =
                    "Target Variance Rescaling pulls every matrix whose deviation has outgrown the target back to it; "
                    "without it deviations drift "
                    "upwards as training goes on."};
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
