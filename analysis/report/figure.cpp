#include "analysis/report/figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "analysis/report/format.h"

namespace headroom::report {
namespace {

// Perceptually even and readable with any colour vision: samples of matplotlib's magma (its bright end cut, so that it
// shows on white) and viridis.
const std::vector<std::string> kMagma = {"#06051a", "#1b1044", "#3d0f71", "#641a80", "#8c2981",
                                         "#b5367a", "#de4968", "#f66e5c", "#fe9f6d", "#fece91"};
const std::vector<std::string> kViridis = {"#440154", "#482878", "#3e4a89", "#31688e", "#26828e",
                                           "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"};

int channel_of(const std::string& color, std::size_t index) {
  return std::stoi(color.substr(1 + 2 * index, 2), nullptr, 16);
}

nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(round_significant(value, 5)) : nlohmann::json(nullptr);
}

nlohmann::json numbers(const std::vector<double>& values) {
  auto out = nlohmann::json::array();
  for (const double value : values) {
    if (std::isfinite(value) && std::abs(value) < 1e15 && value == std::floor(value)) {
      out.push_back(static_cast<std::int64_t>(value));  // "3", not "3.0"
    } else {
      out.push_back(number(value));
    }
  }
  return out;
}

nlohmann::json axis_json(const Axis& axis) {
  nlohmann::json out = {{"label", axis.label}};
  if (axis.log) out["log"] = true;
  if (axis.whole) out["whole"] = true;
  if (!axis.categories.empty()) out["categories"] = axis.categories;
  return out;
}

nlohmann::json panel_json(const Panel& panel) {
  static constexpr const char* kKinds[] = {"lines", "bars", "heat", "intervals"};
  static constexpr const char* kStrokes[] = {"solid", "dashed", "dotted", "dash_dotted", "points"};
  nlohmann::json out = {{"title", panel.title},
                        {"color", panel.color},
                        {"kind", kKinds[static_cast<int>(panel.kind)]},
                        {"x", axis_json(panel.x)},
                        {"y", axis_json(panel.y)}};
  for (const Series& series : panel.series) {
    nlohmann::json one = {{"name", series.name},
                          {"color", series.color},
                          {"stroke", kStrokes[static_cast<int>(series.stroke)]},
                          {"opacity", series.opacity},
                          {"y", numbers(series.y)}};
    if (!series.in_legend) one["unlisted"] = true;
    if (!series.x.empty()) one["x"] = numbers(series.x);
    if (!series.notes.empty()) one["notes"] = series.notes;
    if (!series.low.empty()) one["low"] = numbers(series.low);
    if (!series.high.empty()) one["high"] = numbers(series.high);
    out["series"].push_back(one);
  }
  for (const Rule& rule : panel.rules) out["rules"].push_back({{"value", rule.value}, {"label", rule.label}});
  if (panel.band) {
    out["band"] = {{"low", number(panel.band->low)}, {"high", number(panel.band->high)}, {"label", panel.band->label}};
  }
  if (panel.kind == PanelKind::heat) {
    out["cells"] = numbers(panel.cells);
    out["scale"] = {{"label", panel.scale.label},
                    {"log", panel.scale.log},
                    {"low", number(panel.scale.low)},
                    {"high", number(panel.scale.high)},
                    {"palette", panel.scale.palette == Palette::magma ? "magma" : "viridis"}};
  }
  return out;
}

}  // namespace

const std::vector<std::string>& stops(Palette palette) {
  return palette == Palette::magma ? kMagma : kViridis;
}

std::string color_at(Palette palette, double position) {
  const auto& colors = stops(palette);
  const double place = std::clamp(position, 0.0, 1.0) * static_cast<double>(colors.size() - 1);
  const std::size_t low = std::min(static_cast<std::size_t>(place), colors.size() - 2);
  const double share = place - static_cast<double>(low);
  int rgb[3];
  for (std::size_t i = 0; i < 3; ++i) {
    const int from = channel_of(colors[low], i);
    const int to = channel_of(colors[low + 1], i);
    rgb[i] = from + static_cast<int>(std::lround(share * (to - from)));
  }
  return fmt::format("#{:02x}{:02x}{:02x}", rgb[0], rgb[1], rgb[2]);
}

std::optional<double> position_on(const ColorScale& scale, double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (!scale.log) return std::clamp((value - scale.low) / (scale.high - scale.low), 0.0, 1.0);
  if (value <= 0.0) return std::nullopt;
  return std::clamp(std::log(value / scale.low) / std::log(scale.high / scale.low), 0.0, 1.0);
}

ColorScale scale_for(const std::vector<double>& cells, std::string label, bool log, Palette palette, double decades) {
  ColorScale scale{std::move(label), log, std::numeric_limits<double>::infinity(), 0.0, palette};
  for (const double cell : cells) {
    if (!std::isfinite(cell) || (log && cell <= 0.0)) continue;
    scale.low = std::min(scale.low, cell);
    scale.high = std::max(scale.high, cell);
  }
  if (!std::isfinite(scale.low)) scale.low = log ? 1.0 : 0.0;
  if (log) scale.low = std::max(scale.low, scale.high * std::pow(10.0, -decades));
  if (!(scale.high > scale.low)) scale.high = log ? scale.low * 10.0 : scale.low + 1.0;
  return scale;
}

nlohmann::json to_json(const Figure& figure) {
  nlohmann::json out = {{"id", figure.id}, {"title", figure.title}, {"selectors", nlohmann::json::array()}};
  for (const Selector& selector : figure.selectors) {
    out["selectors"].push_back({{"name", selector.name}, {"options", selector.options}, {"initial", selector.initial}});
  }
  for (const View& view : figure.views) {
    nlohmann::json one = {{"columns", view.columns}, {"shared", view.shared}, {"tiles", view.tiles}};
    one["panels"] = nlohmann::json::array();
    for (const Panel& panel : view.panels) one["panels"].push_back(panel_json(panel));
    if (!view.note.empty()) one["note"] = view.note;
    if (!view.svg.empty()) one["svg"] = view.svg;
    out["views"].push_back(one);
  }
  return out;
}

}  // namespace headroom::report
