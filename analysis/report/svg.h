// Draws a view of a figure as a stand-alone SVG file for papers and pages without scripts.
#pragma once

#include <string>
#include <vector>

#include "analysis/report/figure.h"

namespace headroom::report {

// `run_colors`: "#rrggbb" of each run, indexed by Series::color and Panel::color.
std::string to_svg(const std::string& title, const View& view, const std::vector<std::string>& run_colors);

}  // namespace headroom::report
