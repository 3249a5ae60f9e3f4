// How large activations are: by layer, by who adds them, and how their magnitudes are distributed.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"
#include "analysis/report/places.h"

namespace headroom::report {
namespace {

constexpr std::size_t kMostBins = 72;  // of a drawn histogram

Panel top_values_panel(const Study& study, std::size_t run, const SetMeasures& m) {
  static constexpr Stroke kStrokes[] = {Stroke::solid, Stroke::dashed, Stroke::dotted};
  Panel panel = run_panel(study, run, PanelKind::lines);
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "|h|, mean over sequences", .log = true};
  const auto add = [&](std::string name, Stroke stroke, double opacity, auto figure) {
    Series line{.name = std::move(name),
                .color = static_cast<int>(run),
                .stroke = stroke,
                .opacity = opacity,
                .x = indices(m.layers.size())};
    for (const LayerMeasure& layer : m.layers) line.y.push_back(figure(layer));
    panel.series.push_back(std::move(line));
  };
  add("largest", kStrokes[0], 1.0, [](const LayerMeasure& l) { return l.max; });
  add("2nd", kStrokes[1], 0.85, [](const LayerMeasure& l) { return l.top[1]; });
  add("3rd", kStrokes[2], 0.85, [](const LayerMeasure& l) { return l.top[2]; });
  add("median", Stroke::dash_dotted, 0.6, [](const LayerMeasure& l) { return l.median; });
  return panel;
}

Figure layers_figure(const Study& study) {
  Figure figure{
      .id = "layers",
      .title = "Largest and median |h| by layer",
      .caption =
          "Block outputs of the last snapshot. The distance between the solid line and the median is the "
          "ratio that the second test looks at. The 2nd and 3rd largest values are other elements of the same "
          "sequence: how far they lie below the first says whether it stands alone."};
  const auto sets = shared_sets(study);
  figure.selectors = {selector_of("sequences", sets)};
  for (const SharedSet& set : sets) {
    View view{.svg = "layers-" + set.stem};
    for (const std::size_t run : study.shown_runs()) {
      if (const SetMeasures* m = find_set(study, run, set)) view.panels.push_back(top_values_panel(study, run, *m));
    }
    double largest = 0.0;
    for (const Panel& panel : view.panels) {
      for (const double value : panel.series.front().y)
        largest = std::isfinite(value) ? std::max(largest, value) : largest;
    }
    if (largest > study.thresholds.absolute / 4.0) {
      for (Panel& panel : view.panels) {
        panel.rules.push_back(
            {study.thresholds.absolute, fmt::format("threshold {}", format_number(study.thresholds.absolute))});
      }
    }
    view.columns = columns_for(view.panels.size());
    figure.views.push_back(std::move(view));
  }
  return figure;
}

Figure ratios_figure(const Study& study) {
  Figure figure{.id = "ratios",
                .title = "Scale-free measures by layer",
                .caption =
                    "These do not move when all weights are rescaled: max/median is the ratio test's; the crest factor "
                    "is max/rms; "
                    "kurtosis runs from 1 (all channels alike) to the hidden size (one channel has it all); MMR is the "
                    "mean over tokens "
                    "of each token's own max/median."};
  const auto sets = shared_sets(study);
  figure.selectors = {selector_of("sequences", sets)};
  for (const SharedSet& set : sets) {
    View view{.columns = 2, .shared = false, .svg = "ratios-" + set.stem};
    view.panels.push_back(layer_lines(study, set, "max / median", "max|h| / median|h|", true,
                                      [](const LayerMeasure& l) { return l.ratio(); }));
    view.panels.push_back(layer_lines(study, set, "crest factor", "max|h| / rms(h)", true,
                                      [](const LayerMeasure& l) { return l.crest; }));
    view.panels.push_back(layer_lines(study, set, "kurtosis over channels", "kurtosis", true,
                                      [](const LayerMeasure& l) { return l.kurtosis; }));
    view.panels.push_back(layer_lines(study, set, "MMR", "mean of max|h_t| / median|h_t|", true,
                                      [](const LayerMeasure& l) { return l.mmr_mean; }));
    double largest = 0.0;
    for (const Series& line : view.panels.front().series) {
      for (const double value : line.y) largest = std::isfinite(value) ? std::max(largest, value) : largest;
    }
    if (largest > study.thresholds.ratio / 10.0) {
      view.panels.front().rules.push_back(
          {study.thresholds.ratio, fmt::format("threshold {}", format_number(study.thresholds.ratio))});
    }
    figure.views.push_back(std::move(view));
  }
  return figure;
}

// What each layer's sites hold in the channel of the run's largest activation.
Figure writers_figure(const Study& study) {
  Figure figure{.id = "writers",
                .title = "Who writes the largest channel",
                .caption =
                    "The channel of each run's largest activation, in that activation's sequence: its largest |value| "
                    "over tokens in what "
                    "attention and MLP add to the residual stream, and in the stream after the block. A peak of one "
                    "site just before the "
                    "stream rises is the writer; a peak where it falls is what cancels it."};
  View view{.svg = "writers"};
  for (const std::size_t run : study.shown_runs()) {
    const SetMeasures* m = study.main(run);
    if (!m || m->peak.layer < 0) continue;
    const SnapshotFile& snapshot = *study.runs[run].snapshot();
    Panel panel = run_panel(study, run, PanelKind::lines);
    panel.title += fmt::format(" · channel {}", m->peak.channel);
    panel.x = {.label = "layer", .whole = true};
    panel.y = {.label = "largest |value| in the channel", .log = true};
    const std::tuple<Site, const char*, Stroke> kinds[] = {{Site::block_output, "residual stream", Stroke::solid},
                                                           {Site::attention_output, "attention adds", Stroke::dashed},
                                                           {Site::mlp_output, "MLP adds", Stroke::dotted}};
    for (const auto& [name, words, stroke] : kinds) {
      const auto found = snapshot.sites.find(name);
      if (found == snapshot.sites.end()) continue;
      const SiteStatistics& site = found->second;
      Series line{.name = words,
                  .color = static_cast<int>(run),
                  .stroke = stroke,
                  .x = indices(static_cast<std::size_t>(site.layers))};
      for (std::int64_t layer = 0; layer < site.layers; ++layer) {
        line.y.push_back(
            site.row(site.channel_max, layer, m->peak.sequence)[static_cast<std::size_t>(m->peak.channel)]);
      }
      panel.series.push_back(std::move(line));
    }
    view.panels.push_back(std::move(panel));
  }
  view.columns = columns_for(view.panels.size());
  figure.views.push_back(std::move(view));
  return figure;
}

struct Bins {
  std::size_t first = 0, last = 0, width = 1;  // bins [first, last] drawn, `width` to a column
};

Bins bins_of(const std::vector<const SiteStatistics*>& sites, std::size_t bins) {
  std::size_t first = bins;
  std::size_t last = 0;
  for (const SiteStatistics* site : sites) {
    for (std::size_t i = 0; i < site->histogram.size(); ++i) {
      if (site->histogram[i] == 0) continue;
      first = std::min(first, i % bins);
      last = std::max(last, i % bins);
    }
  }
  if (first > last) return {0, bins - 1, 1};
  return {first, last, (last - first) / kMostBins + 1};
}

Panel histogram_panel(const Study& study, std::size_t run, const SetMeasures& m, const Bins& drawn) {
  const SiteStatistics& site = study.runs[run].snapshot()->sites.at(Site::block_output);
  Panel panel = run_panel(study, run, PanelKind::heat);
  for (std::size_t bin = drawn.first; bin <= drawn.last; bin += drawn.width) {
    panel.x.categories.push_back(format_number(site.edges[bin], 2));
  }
  panel.x.label = "|h| from";
  panel.y = {.label = "layer", .categories = index_names(static_cast<std::size_t>(site.layers))};
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    std::vector<double> counts(panel.x.categories.size(), 0.0);
    double total = 0.0;
    for (const std::int64_t s : m.set.sequences) {
      const auto row = site.row(site.histogram, layer, s);
      for (std::size_t bin = 0; bin < row.size(); ++bin) {
        const auto count = static_cast<double>(row[bin]);
        total += count;
        if (bin >= drawn.first && bin <= drawn.last) counts[(bin - drawn.first) / drawn.width] += count;
      }
    }
    for (const double count : counts) panel.cells.push_back(count > 0.0 ? count / total : kUnknown);
  }
  return panel;
}

Figure histogram_figure(const Study& study) {
  Figure figure{
      .id = "histograms",
      .title = "Distribution of |h| by layer",
      .caption =
          "Share of all values of a layer in each magnitude bin (colour, log scale). Cells apart from a row's bulk "
          "are values that stand out; the wider the row, the more of a number format's range one scale covers."};
  std::vector<const SiteStatistics*> sites;
  for (const Run& run : study.runs) {
    if (run.snapshot()) sites.push_back(&run.snapshot()->sites.at(Site::block_output));
  }
  if (sites.empty()) return figure;
  const auto sets = shared_sets(study);
  figure.selectors = {selector_of("sequences", sets)};
  for (const SharedSet& set : sets) {
    View view{.svg = "histograms-" + set.stem};
    for (const std::size_t run : study.shown_runs()) {
      const SetMeasures* m = find_set(study, run, set);
      if (!m) continue;
      const std::size_t bins = study.runs[run].snapshot()->sites.at(Site::block_output).edges.size() - 1;
      const bool alike =
          std::all_of(sites.begin(), sites.end(), [&](const auto* s) { return s->edges.size() - 1 == bins; });
      const std::vector<const SiteStatistics*> own = {&study.runs[run].snapshot()->sites.at(Site::block_output)};
      view.panels.push_back(histogram_panel(study, run, *m, bins_of(alike ? sites : own, bins)));
    }
    share_scale(view.panels, "share", true, Palette::viridis, 6.0);
    view.columns = columns_for(view.panels.size());
    figure.views.push_back(std::move(view));
  }
  return figure;
}

}  // namespace

Section magnitude_section(const Study& study) {
  Section section{.id = "magnitudes", .title = "Activations by layer"};
  if (shared_sets(study).empty()) {
    section.intro = "No run has a snapshot, so there are no activations to show.";
    return section;
  }
  add_figure(section, layers_figure(study));
  add_figure(section, ratios_figure(study));
  add_figure(section, writers_figure(study));
  add_figure(section, histogram_figure(study));
  return section;
}

}  // namespace headroom::report
