// Draws a panel of intervals: categories downwards, each with its points, mean and whisker.
#pragma once

#include "analysis/report/figure.h"
#include "analysis/report/svg_writer.h"

namespace headroom::report {

// Pixels that the rows need, and the widest category's name.
double intervals_height(const Panel& panel);
double names_width(const Panel& panel);

void draw_intervals(Writer& w, const Panel& panel, const Box& box);

}  // namespace headroom::report
