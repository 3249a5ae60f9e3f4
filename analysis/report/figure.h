// What a figure of the report shows, free of how it is drawn: page/report.js draws it interactively from `to_json`,
// svg.h draws it for papers. All choices (data, labels, scales, colours) are made here, once.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace headroom::report {

struct Axis {
  std::string label{};  // with its unit
  bool log = false;
  std::vector<std::string> categories{};  // names of a heat map's columns or rows, or of bars
  bool whole = false;                     // ticks at whole numbers only (layers)
};

enum class Stroke : std::uint8_t { solid, dashed, dotted, dash_dotted, points };

// One line (or set of points, or of bars: one value a category of the x axis, x unused; in a panel of intervals x is
// the index of the category).
struct Series {
  std::string name{};
  int color = -1;  // index of the run whose colour it takes; -1: the text's
  Stroke stroke = Stroke::solid;
  double opacity = 1.0;
  bool in_legend = true;
  std::vector<double> x{};
  std::vector<double> y{};            // NaN: a gap
  std::vector<std::string> notes{};   // shown beside y on hover; empty or one a point
  std::vector<double> low{}, high{};  // from where to where y may lie: an area along a line, else a whisker; or empty
};

// A line across the panel at y = value, e.g. a threshold.
struct Rule {
  double value{};
  std::string label{};
};

// What the panel's intervals are held against.
struct Band {
  double low{};
  double high{};
  std::string label{};
};

// Intervals lie on their side: the x axis' categories downwards, values of y to the right.
enum class PanelKind : std::uint8_t { lines, bars, heat, intervals };
enum class Palette : std::uint8_t { magma, viridis };

struct ColorScale {
  std::string label{};
  bool log = false;
  double low = 0.0;  // the palette's ends
  double high = 1.0;
  Palette palette = Palette::magma;
};

struct Panel {
  std::string title{};
  int color = -1;  // index of the run that the panel belongs to; -1: none or many
  PanelKind kind = PanelKind::lines;
  Axis x{};
  Axis y{};
  std::vector<Series> series{};  // lines and bars
  std::vector<Rule> rules{};     // lines and bars
  std::optional<Band> band{};    // intervals
  std::vector<double> cells{};   // heat: y.categories x x.categories, row-major, first row on top; NaN: empty
  ColorScale scale{};            // heat
};

// Panels side by side. Panels of one view share their axes' ranges (lines, bars) where `shared` is set.
struct View {
  std::vector<Panel> panels{};
  int columns = 1;
  bool shared = true;
  bool tiles = false;  // many small heat maps (panel = row of tiles x column): axes shown on the enlarged tile only
  std::string note{};  // what of the data this view leaves out; may be empty
  std::string svg{};   // file stem under figures/; empty: this view is not written as SVG
};

// What the reader of the page can switch between; a figure has one view for each combination.
struct Selector {
  std::string name{};
  std::vector<std::string> options{};
  std::size_t initial = 0;  // selected when the page opens
};

struct Figure {
  std::string id{};
  std::string title{};
  std::string caption{};  // how to read it
  std::vector<Selector> selectors{};
  std::vector<View> views{};  // row-major over the selectors' options; exactly one without selectors
};

// A heading of the page and the figures under it.
struct Section {
  std::string id{};
  std::string title{};
  std::string intro{};  // what the section's data say or why it is empty; may be empty
  std::vector<Figure> figures{};
};

// The palette's stops as "#rrggbb", low to high.
const std::vector<std::string>& stops(Palette palette);

// The colour at `position` in [0, 1].
std::string color_at(Palette palette, double position);

// Where `value` lies on the scale, in [0, 1], clamped; nullopt for NaN, and for what a log scale cannot show.
std::optional<double> position_on(const ColorScale& scale, double value);

// A scale that covers the finite cells; on a log scale the positive ones, at most `decades` below the largest.
ColorScale scale_for(const std::vector<double>& cells, std::string label, bool log, Palette palette,
                     double decades = 5.0);

// The figure as page/report.js reads it; numbers rounded to five significant digits, non-finite ones null.
nlohmann::json to_json(const Figure& figure);

}  // namespace headroom::report
