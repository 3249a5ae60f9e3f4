// Axis arithmetic for the SVG writer: ranges, ticks and their labels.
#pragma once

#include <string>
#include <vector>

#include "analysis/report/figure.h"

namespace headroom::report {

struct Range {
  double low = 0.0;
  double high = 1.0;
};

// Maps data to the interval [0, 1].
struct Scale {
  Range range;
  bool log = false;
  double operator()(double value) const;
};

struct Tick {
  double value;
  std::string label;  // empty: a line only
};

// The range that shows every finite value of the panels' series and rules along x or y; widened to tick values.
Scale x_scale(const std::vector<const Panel*>& panels);
Scale y_scale(const std::vector<const Panel*>& panels);

// At most about `count` labelled ticks.
std::vector<Tick> ticks(const Scale& scale, int count, bool whole);

}  // namespace headroom::report
