// Figures of many runs that stay readable: lines and bars of runs that differ by their seed become one.
#pragma once

#include <vector>

#include "analysis/report/study.h"

namespace headroom::report {

// In panels of several runs, the lines of a group become their mean with the range of the seeds, bars likewise; on a
// logarithmic axis the mean is the geometric one. A run that ended early keeps its own line. Points (evaluations) of a
// group keep their places and take its name. Where figures have panels or choices of one run each, the caption says
// which runs of the groups these are. Does nothing without seeds.
void gather_seeds(const Study& study, std::vector<Section>& sections);

}  // namespace headroom::report
