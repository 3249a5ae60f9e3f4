// Low precision: the room under the formats' ceilings, and what one scale a tensor would lose.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"
#include "analysis/statistics.h"

namespace headroom::report {
namespace {

// "attention norm" for attention_norm_output.
std::string site_words(Site site) {
  std::string words(name_of(site));
  std::replace(words.begin(), words.end(), '_', ' ');
  if (words.ends_with(" output")) words.resize(words.size() - 7);
  return words;
}

// A site's largest |h| over all layers and sequences of the set; a max that is not finite before all others.
struct Largest {
  double value = kUnknown;
  std::int64_t layer = -1;
  double layer_mean = kUnknown;  // of max|h| over the sequences, in that layer
};

Largest largest_at(const SiteStatistics& site, const ProbeSet& set) {
  std::vector<double> values;
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    std::vector<double> of_layer;
    for (const std::int64_t s : set.sequences) of_layer.push_back(site.max_abs.at(site.at(layer, s)));
    values.push_back(of_layer[largest_of(of_layer)]);
  }
  const std::size_t layer = largest_of(values);
  return {values[layer], static_cast<std::int64_t>(layer),
          set_mean(site.max_abs, site, static_cast<std::int64_t>(layer), set)};
}

Figure headroom_figure(const Study& study) {
  Figure figure{
      .id = "headroom",
      .title = "Headroom: largest |h| at every site against the formats' ceilings",
      .caption =
          "Largest |h| over layers and sequences at each place where a low-precision run would quantise; the "
          "read-out adds the layer and its mean over the sequences. The distance to a dashed line is the room "
          "left under that format's largest value without scaling."};
  const auto sets = shared_sets(study);
  figure.selectors = {selector_of("sequences", sets)};
  for (const SharedSet& set : sets) {
    Panel panel;
    panel.title = set.name;
    panel.kind = PanelKind::bars;
    panel.y = {.label = "max |h|", .log = true};
    panel.rules = {{kMaxE4m3, "E4M3 448"}, {kMaxE5m2, "E5M2 57,344 · F16 65,504"}};
    for (const Site site : kSites) panel.x.categories.push_back(site_words(site));
    for (std::size_t run = 0; run < study.runs.size(); ++run) {
      const SetMeasures* m = find_set(study, run, set);
      if (!m) continue;
      Series bars{.name = study.runs[run].label, .color = static_cast<int>(run)};
      for (const Site which : kSites) {
        const Largest largest = largest_at(study.runs[run].snapshot()->sites.at(which), m->set);
        bars.y.push_back(largest.value);
        bars.notes.push_back(
            std::isfinite(largest.value)
                ? fmt::format("layer {}, mean over sequences {}", largest.layer, format_number(largest.layer_mean))
                : fmt::format("layer {}: not finite", largest.layer));
      }
      panel.series.push_back(std::move(bars));
    }
    View view{.svg = "headroom-" + set.stem};
    if (!panel.series.empty()) view.panels.push_back(std::move(panel));
    figure.views.push_back(std::move(view));
  }
  return figure;
}

// One line a run: percent of a site's values lost in a format, by layer.
Panel lost_panel(const Study& study, const SharedSet& set, Site site, const char* title, double LostShares::*share) {
  Panel panel;
  panel.title = title;
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = "% of values"};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = find_set(study, run, set);
    if (!m) continue;
    const SiteStatistics& statistics = study.runs[run].snapshot()->sites.at(site);
    Series line{.name = study.runs[run].label,
                .color = static_cast<int>(run),
                .x = indices(static_cast<std::size_t>(statistics.layers))};
    for (std::int64_t layer = 0; layer < statistics.layers; ++layer)
      line.y.push_back(100.0 * (lost_shares(statistics, layer, m->set).*share));
    panel.series.push_back(std::move(line));
  }
  return panel;
}

Figure lost_figure(const Study& study) {
  Figure figure{
      .id = "lost",
      .title = "Values lost to one scale",
      .caption =
          "Share of a site's values that round to zero when the whole tensor is scaled so that its largest value "
          "just fits: INT8 (largest 127) and FP8 E4M3 (largest 448). The norms' outputs are what the matrix "
          "products of a low-precision run take. From the histograms, bins cut geometrically."};
  const auto sets = shared_sets(study);
  figure.selectors = {selector_of("sequences", sets), {"site", {}, 0}};
  for (const Site site : kSites) {
    if (site == Site::block_output) figure.selectors[1].initial = figure.selectors[1].options.size();
    figure.selectors[1].options.push_back(site_words(site));
  }
  for (const SharedSet& set : sets) {
    for (const Site site : kSites) {
      View view{.columns = 2, .shared = false, .svg = fmt::format("lost-{}-{}", file_stem(site_words(site)), set.stem)};
      view.panels.push_back(lost_panel(study, set, site, "INT8, one scale a tensor", &LostShares::int8));
      view.panels.push_back(lost_panel(study, set, site, "FP8 E4M3, one scale a tensor", &LostShares::e4m3));
      figure.views.push_back(std::move(view));
    }
  }
  return figure;
}

}  // namespace

Section precision_section(const Study& study) {
  Section section{.id = "precision", .title = "Low precision"};
  if (shared_sets(study).empty()) {
    section.intro = "No run has a snapshot, so there is nothing to hold against the formats.";
    return section;
  }
  add_figure(section, headroom_figure(study));
  add_figure(section, lost_figure(study));
  return section;
}

}  // namespace headroom::report
