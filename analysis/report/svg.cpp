#include "analysis/report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "analysis/report/svg_intervals.h"
#include "analysis/report/svg_scale.h"
#include "analysis/report/svg_writer.h"

namespace headroom::report {
namespace {

constexpr int kColorLevels = 64;

// Room around a panel's plot for its title, labels and ticks, in pixels.
struct Margins {
  double left = 66, right = 18, top = 30, bottom = 48;
};

std::string dash(Stroke stroke) {
  switch (stroke) {
    case Stroke::dashed:
      return " stroke-dasharray=\"6 3\"";
    case Stroke::dotted:
      return " stroke-dasharray=\"1.5 3\" stroke-linecap=\"round\"";
    case Stroke::dash_dotted:
      return " stroke-dasharray=\"7 3 1.5 3\"";
    default:
      return {};
  }
}

void draw_frame(Writer& w, const Panel& panel, const Box& box) {
  w.text(box.x, box.y - 10, panel.title, 12.5, "start", kInk, " font-weight=\"600\"");
  if (panel.kind == PanelKind::intervals) return;  // its axes are its own
  w.text(box.x + box.width / 2, box.y + box.height + 36, panel.x.label, 11.5, "middle", kMuted);
  const double x = box.x - 48;
  const double y = box.y + box.height / 2;
  w.text(x, y, panel.y.label, 11.5, "middle", kMuted, fmt::format(" transform=\"rotate(-90 {:.1f} {:.1f})\"", x, y));
}

void draw_y_axis(Writer& w, const Panel& panel, const Scale& scale, const Box& box) {
  for (const Tick& tick : ticks(scale, 6, panel.y.whole)) {
    const double y = box.y + box.height * (1.0 - scale(tick.value));
    w.line(box.x, y, box.x + box.width, y, kGrid);
    w.text(box.x - 7, y + 3.8, tick.label, 10.5, "end", kMuted);
  }
}

void draw_rules(Writer& w, const Panel& panel, const Scale& scale, const Box& box) {
  for (const Rule& rule : panel.rules) {
    const double y = box.y + box.height * (1.0 - scale(rule.value));
    w.line(box.x, y, box.x + box.width, y, kMuted, " stroke-dasharray=\"4 4\"");
    w.text(box.x + 4, y - 4, rule.label, 10, "start", kMuted);
  }
}

// Between a line's low and high; gaps where one cannot be shown.
void draw_area(Writer& w, const Series& series, const Scale& x, const Scale& y, const Box& box) {
  const auto shows = [&](std::size_t i) {
    return std::isfinite(series.low[i]) && std::isfinite(series.high[i]) && (!y.log || series.low[i] > 0.0) &&
           (!x.log || series.x[i] > 0.0);
  };
  const auto point = [&](std::size_t i, double value) {
    return fmt::format("{:.1f} {:.1f}", box.x + box.width * x(series.x[i]), box.y + box.height * (1.0 - y(value)));
  };
  for (std::size_t i = 0; i < series.low.size(); ++i) {
    if (!shows(i)) continue;
    std::size_t end = i;
    std::string path = "M";
    for (; end < series.low.size() && shows(end); ++end) path += (end > i ? "L" : "") + point(end, series.high[end]);
    for (std::size_t k = end; k > i; --k) path += "L" + point(k - 1, series.low[k - 1]);
    w.out += fmt::format("<path d=\"{}Z\" fill=\"{}\" opacity=\"0.16\"/>\n", path, w.color(series.color));
    i = end;
  }
}

void draw_lines(Writer& w, const Panel& panel, const Scale& x, const Scale& y, const Box& box) {
  draw_y_axis(w, panel, y, box);
  for (const Tick& tick : ticks(x, std::max(3, static_cast<int>(box.width / 70)), panel.x.whole)) {
    const double at = box.x + box.width * x(tick.value);
    w.line(at, box.y + box.height, at, box.y + box.height + 4, kMuted);
    w.text(at, box.y + box.height + 17, tick.label, 10.5, "middle", kMuted);
  }
  w.line(box.x, box.y + box.height, box.x + box.width, box.y + box.height, kMuted);
  draw_rules(w, panel, y, box);
  for (const Series& series : panel.series) draw_area(w, series, x, y, box);
  for (const Series& series : panel.series) {
    const std::string color = w.color(series.color);
    std::string path;
    std::string marks;
    bool pen_down = false;
    for (std::size_t i = 0; i < series.y.size(); ++i) {
      const double value = series.y[i];
      if (!std::isfinite(value) || (y.log && value <= 0.0) || (x.log && series.x[i] <= 0.0)) {
        pen_down = false;
        continue;
      }
      const double px = box.x + box.width * x(series.x[i]);
      const double py = box.y + box.height * (1.0 - y(value));
      path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", px, py);
      if (series.stroke == Stroke::points || series.y.size() <= 40) {
        marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.6\"/>", px, py);
      }
      pen_down = true;
    }
    if (series.stroke != Stroke::points && !path.empty()) {
      w.out += fmt::format(
          "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.9\" stroke-linejoin=\"round\""
          " opacity=\"{}\"{}/>\n",
          path, color, series.opacity, dash(series.stroke));
    }
    if (!marks.empty()) w.out += fmt::format("<g fill=\"{}\" opacity=\"{}\">{}</g>\n", color, series.opacity, marks);
  }
}

void draw_bars(Writer& w, const Panel& panel, const Scale& y, const Box& box) {
  draw_y_axis(w, panel, y, box);
  const double group = box.width / static_cast<double>(std::max<std::size_t>(1, panel.x.categories.size()));
  const double bar = group * 0.8 / static_cast<double>(std::max<std::size_t>(1, panel.series.size()));
  for (std::size_t c = 0; c < panel.x.categories.size(); ++c) {
    w.text(box.x + group * (static_cast<double>(c) + 0.5), box.y + box.height + 17, panel.x.categories[c], 10.5,
           "middle", kMuted);
  }
  for (std::size_t s = 0; s < panel.series.size(); ++s) {
    const Series& series = panel.series[s];
    for (std::size_t c = 0; c < series.y.size(); ++c) {
      if (!std::isfinite(series.y[c]) || (y.log && series.y[c] <= 0.0)) continue;
      const double height = box.height * std::clamp(y(series.y[c]), 0.0, 1.0);
      w.rect({box.x + group * (static_cast<double>(c) + 0.1) + bar * static_cast<double>(s),
              box.y + box.height - height, bar * 0.92, height},
             w.color(series.color), fmt::format(" opacity=\"{}\"", series.opacity));
      if (c >= series.low.size() || !std::isfinite(series.low[c]) || (y.log && series.low[c] <= 0.0)) continue;
      const double middle = box.x + group * (static_cast<double>(c) + 0.1) + bar * (static_cast<double>(s) + 0.46);
      w.line(middle, box.y + box.height * (1.0 - y(series.low[c])), middle,
             box.y + box.height * (1.0 - y(series.high[c])), kInk);
    }
  }
  w.line(box.x, box.y + box.height, box.x + box.width, box.y + box.height, kMuted);
  draw_rules(w, panel, y, box);
}

// One path of unit squares a colour level, so that a map of thousands of cells stays a small file.
void draw_cells(Writer& w, const Panel& panel, const Box& box) {
  const std::size_t columns = panel.x.categories.size();
  const std::size_t rows = panel.y.categories.size();
  std::map<int, std::string> paths;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      const auto place = position_on(panel.scale, panel.cells[r * columns + c]);
      if (place)
        paths[static_cast<int>(std::lround(*place * (kColorLevels - 1)))] += fmt::format("M{} {}h1v1h-1z", c, r);
    }
  }
  w.rect(box, "#f3f5f7");
  w.out +=
      fmt::format("<g transform=\"translate({:.1f} {:.1f}) scale({:.5f} {:.5f})\" shape-rendering=\"crispEdges\">\n",
                  box.x, box.y, box.width / static_cast<double>(std::max<std::size_t>(1, columns)),
                  box.height / static_cast<double>(std::max<std::size_t>(1, rows)));
  for (const auto& [level, path] : paths) {
    w.out += fmt::format("<path d=\"{}\" fill=\"{}\"/>\n", path,
                         color_at(panel.scale.palette, static_cast<double>(level) / (kColorLevels - 1)));
  }
  w.out += "</g>\n";
}

void draw_color_bar(Writer& w, const ColorScale& scale, const Box& box) {
  for (int i = 0; i < kColorLevels; ++i) {
    const double step = box.height / kColorLevels;
    w.rect({box.x, box.y + step * (kColorLevels - 1 - i), box.width, step + 0.5},
           color_at(scale.palette, static_cast<double>(i) / (kColorLevels - 1)));
  }
  const Scale axis{{scale.low, scale.high}, scale.log};
  for (const Tick& tick : ticks(axis, 5, false)) {
    const double y = box.y + box.height * (1.0 - axis(tick.value));
    w.line(box.x + box.width, y, box.x + box.width + 3, y, kMuted);
    w.text(box.x + box.width + 6, y + 3.6, tick.label, 10, "start", kMuted);
  }
  w.text(box.x + box.width + 4, box.y - 10, scale.label, 11, "end", kMuted);
}

// Every n-th name, as many as fit.
std::size_t name_stride(const std::vector<std::string>& names, double room, bool upright) {
  double widest = upright ? 13.0 : 0.0;
  if (!upright) {
    for (const std::string& name : names) widest = std::max(widest, text_width(name, 10.5) + 8);
  }
  const auto fitting = static_cast<std::size_t>(std::max(1.0, room / widest));
  return (names.size() + fitting - 1) / fitting;
}

void draw_heat_axes(Writer& w, const Panel& panel, const Box& box) {
  const auto& columns = panel.x.categories;
  const auto& rows = panel.y.categories;
  const double cell_width = box.width / static_cast<double>(std::max<std::size_t>(1, columns.size()));
  const double cell_height = box.height / static_cast<double>(std::max<std::size_t>(1, rows.size()));
  for (std::size_t c = 0; c < columns.size(); c += std::max<std::size_t>(1, name_stride(columns, box.width, false))) {
    w.text(box.x + cell_width * (static_cast<double>(c) + 0.5), box.y + box.height + 15, columns[c], 10.5, "middle",
           kMuted);
  }
  for (std::size_t r = 0; r < rows.size(); r += std::max<std::size_t>(1, name_stride(rows, box.height, true))) {
    w.text(box.x - 6, box.y + cell_height * (static_cast<double>(r) + 0.5) + 3.6, rows[r], 10.5, "end", kMuted);
  }
}

struct LegendItem {
  std::string name;
  std::string color;
  Stroke stroke;
  double opacity;
};

std::vector<LegendItem> legend_of(const View& view, const Writer& w) {
  std::vector<LegendItem> items;
  std::set<std::tuple<std::string, std::string, Stroke>> seen;
  for (const Panel& panel : view.panels) {
    for (const Series& series : panel.series) {
      // In a panel of one run the colour says which run: the legend speaks of the strokes.
      const std::string color = panel.color >= 0 ? kInk : w.color(series.color);
      if (series.in_legend && !series.name.empty() && seen.insert({series.name, color, series.stroke}).second) {
        items.push_back({series.name, color, series.stroke, series.opacity});
      }
    }
  }
  return items.size() > 1 ? items : std::vector<LegendItem>{};
}

double draw_legend(Writer& w, const std::vector<LegendItem>& items, double left, double y, double width) {
  double x = left;
  for (const LegendItem& item : items) {
    const double need = 34 + text_width(item.name, 11.5) + 12;
    if (x > left && x + need > left + width) {
      x = left;
      y += 18;
    }
    if (item.stroke == Stroke::points) {
      w.out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.4\" fill=\"{}\"/>", x + 11, y - 4, item.color);
    } else {
      w.line(x, y - 4, x + 22, y - 4, item.color,
             fmt::format(" stroke-width=\"2.4\" opacity=\"{}\"{}", item.opacity, dash(item.stroke)));
    }
    w.text(x + 28, y, item.name, 11.5, "start", kInk);
    x += need;
  }
  return y;
}

Box plot_size(const View& view) {
  const Panel& panel = view.panels.front();
  if (view.tiles) return {0, 0, 74, 74};
  if (panel.kind == PanelKind::intervals) return {0, 0, 240, intervals_height(panel)};
  if (panel.kind != PanelKind::heat) return view.panels.size() == 1 ? Box{0, 0, 640, 300} : Box{0, 0, 330, 210};
  const auto columns = static_cast<double>(panel.x.categories.size());
  const auto rows = static_cast<double>(panel.y.categories.size());
  return {0, 0, std::clamp(columns * 22.0, 260.0, view.columns > 1 ? 380.0 : 680.0),
          std::clamp(rows * 20.0, 110.0, 420.0)};
}

Margins margins_of(const View& view) {
  if (view.tiles) return {.left = 4, .right = 4, .top = 16, .bottom = 2};
  Margins margins;
  if (view.panels.front().kind == PanelKind::intervals) {
    margins.left = std::max(66.0, names_width(view.panels.front()) + 20);
    return margins;
  }
  if (view.panels.front().kind != PanelKind::heat) return margins;
  double widest = 0.0;
  for (const Panel& panel : view.panels) {
    for (const std::string& name : panel.y.categories) widest = std::max(widest, text_width(name, 10.5));
  }
  margins.left = std::max(66.0, widest + 34);
  margins.right = 84;
  return margins;
}

}  // namespace

std::string to_svg(const std::string& title, const View& view, const std::vector<std::string>& run_colors) {
  Writer w(run_colors);
  const Margins margins = margins_of(view);
  const Box plot = plot_size(view);
  const double cell_width = margins.left + plot.width + margins.right;
  const double cell_height = margins.top + plot.height + margins.bottom;
  const int columns = std::max(1, view.columns);
  const int rows = (static_cast<int>(view.panels.size()) + columns - 1) / columns;
  const double edge = view.tiles ? 16 : 0;
  const double bar_room = view.tiles ? 96 : 0;
  const double width =
      std::max(420.0, 2 * edge + cell_width * std::min(columns, static_cast<int>(view.panels.size())) + bar_room);

  w.text(16, 26, title, 15, "start", kInk, " font-weight=\"700\"");
  const auto legend = legend_of(view, w);
  double top = legend.empty() ? 44 : draw_legend(w, legend, 16, 50, width - 32) + 16;
  if (!view.note.empty()) {
    w.text(16, top, view.note, 11, "start", kMuted);
    top += 16;
  }
  const double height = top + rows * cell_height + (view.tiles ? 16 : 4);

  std::vector<const Panel*> all;
  for (const Panel& panel : view.panels) all.push_back(&panel);
  for (std::size_t i = 0; i < view.panels.size(); ++i) {
    const Panel& panel = view.panels[i];
    const Box box{edge + cell_width * static_cast<double>(i % static_cast<std::size_t>(columns)) + margins.left,
                  top + cell_height * static_cast<double>(i / static_cast<std::size_t>(columns)) + margins.top,
                  plot.width, plot.height};
    if (view.tiles) {
      draw_cells(w, panel, box);
      w.text(box.x, box.y - 4, panel.title, 9.5, "start", kMuted);
      continue;
    }
    draw_frame(w, panel, box);
    if (panel.kind == PanelKind::heat) {
      draw_cells(w, panel, box);
      draw_heat_axes(w, panel, box);
      draw_color_bar(w, panel.scale, {box.x + box.width + 12, box.y, 12, box.height});
      continue;
    }
    const std::vector<const Panel*> scope = view.shared ? all : std::vector<const Panel*>{&panel};
    if (panel.kind == PanelKind::intervals) {
      draw_intervals(w, panel, box);
    } else if (panel.kind == PanelKind::lines) {
      draw_lines(w, panel, x_scale(scope), y_scale(scope), box);
    } else {
      draw_bars(w, panel, y_scale(scope), box);
    }
  }
  if (view.tiles && !view.panels.empty()) {
    draw_color_bar(w, view.panels.front().scale,
                   {width - bar_room + 34, top + margins.top, 12, std::min(180.0, rows * cell_height - margins.top)});
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"Helvetica, Arial, 'DejaVu Sans', "
      "sans-serif\">\n<title>{2}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{3}</svg>\n",
      width, height, escape_markup(title), w.out);
}

}  // namespace headroom::report
