// What happened while the runs trained: loss, and the monitor's figures of every layer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"

namespace headroom::report {
namespace {

constexpr std::size_t kLossPoints = 240;
constexpr std::size_t kHeatColumns = 120;

bool has_steps(const Run& run) {
  return run.metrics && !run.metrics->steps.empty();
}

// Step ranges [begin, end) for at most `count` columns or points.
std::vector<std::pair<std::size_t, std::size_t>> ranges(std::size_t steps, std::size_t count) {
  std::vector<std::pair<std::size_t, std::size_t>> out;
  const std::size_t parts = std::min(steps, count);
  for (std::size_t i = 0; i < parts; ++i) out.emplace_back(steps * i / parts, steps * (i + 1) / parts);
  return out;
}

// Points of a curve from `from` training tokens on.
void keep_from(Series& series, double from) {
  std::size_t begin = 0;
  while (begin < series.x.size() && series.x[begin] < from) ++begin;
  const auto count = static_cast<std::ptrdiff_t>(begin);
  series.x.erase(series.x.begin(), series.x.begin() + count);
  series.y.erase(series.y.begin(), series.y.begin() + count);
  if (!series.notes.empty()) series.notes.erase(series.notes.begin(), series.notes.begin() + count);
}

View loss_view(const Study& study, double from, std::string svg) {
  Panel panel;
  panel.title = "Loss";
  panel.x = {.label = "training tokens"};
  panel.y = {.label = "nats a token"};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (!has_steps(study.runs[run])) continue;
    const MetricsLog& log = *study.runs[run].metrics;
    Series line{.name = study.runs[run].label, .color = static_cast<int>(run)};
    // Narrow ranges would show batch noise only.
    for (const auto& [begin, end] :
         ranges(log.steps.size(), std::min(kLossPoints, std::max<std::size_t>(20, log.steps.size() / 4)))) {
      double sum = 0.0;
      for (std::size_t i = begin; i < end; ++i) sum += log.steps[i].loss;
      line.x.push_back(log.steps[end - 1].tokens);
      line.y.push_back(sum / static_cast<double>(end - begin));
    }
    Series dots{.name = study.runs[run].label + ", held-out",
                .color = static_cast<int>(run),
                .stroke = Stroke::points,
                .in_legend = false};
    for (const EvalPoint& point : log.evaluations) {
      dots.x.push_back(point.tokens);
      dots.y.push_back(point.loss);
      dots.notes.push_back("perplexity " + format_number(point.perplexity));
    }
    for (Series* series : {&line, &dots}) {
      keep_from(*series, from);
      if (!series->x.empty()) panel.series.push_back(std::move(*series));
    }
  }
  View view{.svg = std::move(svg)};
  if (!panel.series.empty()) view.panels.push_back(std::move(panel));
  return view;
}

Figure loss_figure(const Study& study) {
  Figure figure{.id = "loss",
                .title = "Loss over training tokens",
                .caption =
                    "Lines: training loss, averaged over neighbouring steps. Dots: held-out loss. Read runs against "
                    "each other at the same "
                    "abscissa: equal tokens."};
  figure.selectors = {{"part", {"whole run", "last half", "last fifth"}}};
  figure.views = {loss_view(study, 0.0, "loss"), loss_view(study, 0.5 * study.equal_tokens, "loss-last-half"),
                  loss_view(study, 0.8 * study.equal_tokens, "loss-last-fifth")};
  return figure;
}

// Layers by step ranges, each cell the largest value in its range, empty where one is not finite.
std::optional<Panel> evolution_panel(const Study& study, std::size_t run, std::vector<double> StepRecord::*values) {
  if (!has_steps(study.runs[run])) return std::nullopt;
  const auto& steps = study.runs[run].metrics->steps;
  std::size_t layers = 0;
  for (const StepRecord& step : steps) layers = std::max(layers, (step.*values).size());
  if (layers == 0) return std::nullopt;
  Panel panel = run_panel(study, run, PanelKind::heat);
  panel.x.label = "step";
  panel.y = {.label = "layer", .categories = index_names(layers)};
  const auto parts = ranges(steps.size(), kHeatColumns);
  panel.cells.assign(layers * parts.size(), kUnknown);
  for (std::size_t c = 0; c < parts.size(); ++c) {
    const auto [begin, end] = parts[c];
    panel.x.categories.push_back(end - begin == 1 ? fmt::format("{}", steps[begin].step)
                                                  : fmt::format("{}–{}", steps[begin].step, steps[end - 1].step));
    std::vector<std::vector<double>> of_layer(layers);  // the range's values, by layer
    for (std::size_t i = begin; i < end; ++i) {
      for (std::size_t layer = 0; layer < (steps[i].*values).size(); ++layer) {
        of_layer[layer].push_back((steps[i].*values)[layer]);
      }
    }
    for (std::size_t layer = 0; layer < layers; ++layer) {
      if (of_layer[layer].empty()) continue;
      const double value = of_layer[layer][largest_of(of_layer[layer])];
      panel.cells[layer * parts.size() + c] = std::isfinite(value) ? value : kUnknown;
    }
  }
  return panel;
}

View evolution_view(const Study& study, std::vector<double> StepRecord::*values, const std::string& label, bool log,
                    Palette palette, std::string svg) {
  View view{.svg = std::move(svg)};
  for (const std::size_t run : study.shown_runs()) {
    if (auto panel = evolution_panel(study, run, values)) view.panels.push_back(std::move(*panel));
  }
  share_scale(view.panels, label, log, palette);
  view.columns = columns_for(view.panels.size());
  return view;
}

Figure evolution_figure(const Study& study) {
  Figure figure{.id = "evolution",
                .title = "Evolution over training",
                .caption =
                    "The monitor's figures of every step's training batch, layer by step; a column that covers several "
                    "steps shows the largest, and is empty where one is not finite."};
  figure.selectors = {{"measure", {"max |h|", "median |h|", "max / median"}}};
  figure.views.push_back(
      evolution_view(study, &StepRecord::layer_max, "max |h|", true, Palette::magma, "evolution-max"));
  figure.views.push_back(
      evolution_view(study, &StepRecord::layer_median, "median |h|", true, Palette::magma, "evolution-median"));
  figure.views.push_back(
      evolution_view(study, &StepRecord::layer_ratio, "max / median", true, Palette::magma, "evolution-ratio"));
  return figure;
}

Figure bias_mass_figure(const Study& study) {
  Figure figure{
      .id = "bias-mass",
      .title = "Attention on the bias slot over training",
      .caption =
          "Mean share of a layer's attention that goes to the learned key and value, on training batches. Read it "
          "beside the first key's share in the section on attention."};
  figure.views.push_back(
      evolution_view(study, &StepRecord::kv_bias_mass, "mass", false, Palette::viridis, "bias-mass"));
  return figure;
}

Figure alpha_figure(const Study& study) {
  Figure figure{.id = "dyt-alpha",
                .title = "Dynamic Tanh's alpha over training",
                .caption =
                    "The learnable scale inside tanh(alpha x) of every layer, before attention and before the "
                    "feed-forward: the smaller, the larger an input passes nearly unchanged."};
  figure.selectors = {{"norm", {"before attention", "before the feed-forward"}}};
  figure.views.push_back(
      evolution_view(study, &StepRecord::alpha_attention, "alpha", false, Palette::viridis, "dyt-alpha-attention"));
  figure.views.push_back(
      evolution_view(study, &StepRecord::alpha_mlp, "alpha", false, Palette::viridis, "dyt-alpha-mlp"));
  return figure;
}

}  // namespace

Section training_section(const Study& study) {
  Section section{.id = "training", .title = "Over training"};
  if (std::none_of(study.runs.begin(), study.runs.end(), has_steps)) {
    section.intro = "No run has a metrics.jsonl with steps in it.";
  }
  add_figure(section, loss_figure(study));
  add_figure(section, evolution_figure(study));
  add_figure(section, snapshots_figure(study));
  add_figure(section, bias_mass_figure(study));
  add_figure(section, alpha_figure(study));
  return section;
}

}  // namespace headroom::report
