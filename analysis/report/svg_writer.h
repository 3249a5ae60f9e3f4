// The marks that an SVG file is made of.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "analysis/report/format.h"

namespace headroom::report {

inline constexpr const char* kInk = "#1f2933";
inline constexpr const char* kMuted = "#66717e";
inline constexpr const char* kGrid = "#e4e8ec";

struct Box {
  double x, y, width, height;
};

// Roughly the width of a sans-serif text; only spacing depends on it.
inline double text_width(const std::string& text, double size) {
  const auto continuation = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  return 0.56 * size * static_cast<double>(text.size() - std::count_if(text.begin(), text.end(), continuation));
}

// Appends to `out`; colours go by run, "#rrggbb" each.
class Writer {
 public:
  explicit Writer(const std::vector<std::string>& run_colors) : run_colors_(run_colors) {}

  std::string color(int run) const { return run < 0 ? kInk : run_colors_.at(static_cast<std::size_t>(run)); }

  void text(double x, double y, const std::string& words, double size, const char* anchor, const char* fill,
            const std::string& extra = {}) {
    out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" text-anchor=\"{}\" fill=\"{}\"{}>{}</text>\n",
                       x, y, size, anchor, fill, extra, escape_markup(words));
  }

  void line(double x1, double y1, double x2, double y2, const std::string& stroke, const std::string& extra = {}) {
    out += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"{}/>\n", x1, y1, x2,
                       y2, stroke, extra);
  }

  void rect(const Box& box, const std::string& fill, const std::string& extra = {}) {
    out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"{}/>\n", box.x,
                       box.y, box.width, box.height, fill, extra);
  }

  std::string out;

 private:
  const std::vector<std::string>& run_colors_;
};

}  // namespace headroom::report
