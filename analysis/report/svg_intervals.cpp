#include "analysis/report/svg_intervals.h"

#include <algorithm>
#include <cmath>

#include "analysis/report/svg_scale.h"

namespace headroom::report {
namespace {

constexpr double kRow = 24.0;
constexpr double kBelow = 5.0;  // the row's middle line: single values; above it mean and whisker
constexpr double kAbove = 4.0;

}  // namespace

double intervals_height(const Panel& panel) {
  return kRow * static_cast<double>(std::max<std::size_t>(1, panel.x.categories.size()));
}

double names_width(const Panel& panel) {
  double widest = 0.0;
  for (const std::string& name : panel.x.categories) widest = std::max(widest, text_width(name, 10.5));
  return widest;
}

void draw_intervals(Writer& w, const Panel& panel, const Box& box) {
  const Scale scale = y_scale({&panel});
  const auto at = [&](double value) { return box.x + box.width * scale(value); };
  const auto shows = [&](double value) { return std::isfinite(value) && (!scale.log || value > 0.0); };
  if (panel.band && shows(panel.band->low) && shows(panel.band->high)) {
    // A band without width is a line.
    const double width = at(panel.band->high) - at(panel.band->low);
    w.rect({at(panel.band->low), box.y, std::max(1.0, width), box.height}, kMuted,
           width < 1.0 ? " opacity=\"0.6\"" : " opacity=\"0.14\"");
  }
  for (const Tick& tick : ticks(scale, 4, false)) {
    w.line(at(tick.value), box.y, at(tick.value), box.y + box.height, kGrid);
    w.text(at(tick.value), box.y + box.height + 17, tick.label, 10.5, "middle", kMuted);
  }
  w.text(box.x + box.width / 2, box.y + box.height + 34, panel.y.label, 11.5, "middle", kMuted);
  w.line(box.x, box.y + box.height, box.x + box.width, box.y + box.height, kMuted);
  for (std::size_t row = 0; row < panel.x.categories.size(); ++row) {
    w.text(box.x - 8, box.y + kRow * (static_cast<double>(row) + 0.5) + 3.6, panel.x.categories[row], 10.5, "end",
           kInk);
  }
  for (const Series& series : panel.series) {
    const bool single = series.stroke == Stroke::points;
    for (std::size_t i = 0; i < series.y.size(); ++i) {
      const double beside = panel.series.size() == 1 ? 0.0 : single ? kBelow : -kAbove;
      const double y = box.y + kRow * (series.x[i] + 0.5) + beside;
      if (i < series.low.size() && shows(series.low[i]) && shows(series.high[i])) {
        w.line(at(series.low[i]), y, at(series.high[i]), y, w.color(series.color),
               " stroke-width=\"2.4\" stroke-linecap=\"round\"");
      }
      if (!shows(series.y[i])) continue;
      w.out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\" opacity=\"{}\"/>\n",
                           at(series.y[i]), y, single ? 2.4 : 4.0, w.color(series.color), series.opacity);
    }
  }
}

}  // namespace headroom::report
