// What keeps the runs of a report from being compared, or limits where they are.
#pragma once

#include <string>
#include <vector>

#include "analysis/report/study.h"

namespace headroom::report {

std::vector<std::string> comparability_remarks(const Study& study);

}  // namespace headroom::report
