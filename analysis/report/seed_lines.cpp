#include "analysis/report/seed_lines.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/estimate.h"
#include "analysis/report/format.h"

namespace headroom::report {
namespace {

// "TVR, held-out" for "TVR, seed 1, held-out".
std::string group_name(std::string name, const Run& run, const Group& group) {
  const std::size_t at = name.find(run.label);
  return at == std::string::npos ? name : name.replace(at, run.label.size(), group.label);
}

// What may be averaged: the same quantity of the same group at the same places.
bool alike(const Study& study, const Series& a, const Series& b) {
  const auto run_a = static_cast<std::size_t>(a.color);
  const auto run_b = static_cast<std::size_t>(b.color);
  const Group& group = study.group_of(run_a);
  return &group == &study.group_of(run_b) && a.stroke == b.stroke && a.x == b.x && a.y.size() == b.y.size() &&
         group_name(a.name, study.runs[run_a], group) == group_name(b.name, study.runs[run_b], group);
}

Series mean_of(const Study& study, const std::vector<Series>& lines, bool log) {
  Series mean = lines.front();
  const auto first = static_cast<std::size_t>(mean.color);
  const Group& group = study.group_of(first);
  mean.name = group_name(mean.name, study.runs[first], group);
  mean.color = static_cast<int>(group.runs.front());
  mean.notes.clear();
  for (std::size_t i = 0; i < mean.y.size(); ++i) {
    std::vector<double> values;
    for (const Series& line : lines) values.push_back(line.y[i]);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    mean.y[i] = estimate(values, log ? Averaging::geometric : Averaging::arithmetic).mean;
    const bool known = mean.y[i] == mean.y[i];
    mean.low.push_back(known ? *low : kUnknown);
    mean.high.push_back(known ? *high : kUnknown);
    mean.notes.push_back(known
                             ? fmt::format("{} seeds, {} – {}", lines.size(), format_number(*low), format_number(*high))
                             : fmt::format("not finite in one of {} seeds", lines.size()));
  }
  return mean;
}

void gather(const Study& study, Panel& panel) {
  std::vector<Series> rest = std::move(panel.series);
  panel.series.clear();
  while (!rest.empty()) {
    std::vector<Series> lines = {std::move(rest.front())};
    rest.erase(rest.begin());
    const auto run = lines.front().color < 0 ? study.runs.size() : static_cast<std::size_t>(lines.front().color);
    if (run == study.runs.size() || !study.group_of(run).repeated() || study.ended_early(run)) {
      panel.series.push_back(std::move(lines.front()));
      continue;
    }
    if (lines.front().stroke == Stroke::points) {
      const Group& group = study.group_of(run);
      lines.front().name = group_name(lines.front().name, study.runs[run], group);
      lines.front().color = static_cast<int>(group.runs.front());
      panel.series.push_back(std::move(lines.front()));
      continue;
    }
    for (auto other = rest.begin(); other != rest.end();) {
      if (other->color >= 0 && alike(study, lines.front(), *other)) {
        lines.push_back(std::move(*other));
        other = rest.erase(other);
      } else {
        ++other;
      }
    }
    panel.series.push_back(lines.size() > 1 ? mean_of(study, lines, panel.y.log) : std::move(lines.front()));
  }
}

// Which seeds stand for their groups: "seed 1", or each group's where they differ.
std::string shown_words(const Study& study) {
  std::vector<std::string> seeds;
  std::vector<std::string> labels;
  for (const std::size_t run : study.shown_runs()) {
    if (!study.group_of(run).repeated()) continue;
    labels.push_back(study.runs[run].label);
    const std::string seed = fmt::format("seed {}", *study.runs[run].seed);
    if (std::find(seeds.begin(), seeds.end(), seed) == seeds.end()) seeds.push_back(seed);
  }
  return seeds.size() == 1 ? seeds.front() : fmt::format("{}", fmt::join(labels, "; "));
}

}  // namespace

void gather_seeds(const Study& study, std::vector<Section>& sections) {
  if (!study.has_seeds()) return;
  for (Section& section : sections) {
    for (Figure& figure : section.figures) {
      bool gathered = false;
      const bool chosen = std::any_of(figure.selectors.begin(), figure.selectors.end(),
                                      [](const Selector& selector) { return selector.name == "run"; });
      bool of_one_run = chosen;
      for (View& view : figure.views) {
        for (Panel& panel : view.panels) {
          of_one_run = of_one_run || panel.color >= 0;
          if (panel.color >= 0 || (panel.kind != PanelKind::lines && panel.kind != PanelKind::bars)) continue;
          const std::size_t before = panel.series.size();
          gather(study, panel);
          gathered = gathered || panel.series.size() < before;
        }
      }
      if (gathered)
        figure.caption += " Of a variant with several seeds: their mean, and the range from the lowest to the highest.";
      if (of_one_run) {
        figure.caption += fmt::format(" Of a variant with several seeds one run is shown ({}); the others are in {}.",
                                      shown_words(study), chosen ? "their snapshots" : "the tables");
      }
    }
  }
}

}  // namespace headroom::report
