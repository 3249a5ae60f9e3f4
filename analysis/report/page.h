// The report's one HTML file: readable without a network, figures drawn by the embedded script.
#pragma once

#include <string>
#include <vector>

#include "analysis/report/study.h"

namespace headroom::report {

struct PageContents {
  std::string title;
  std::string written;                                     // UTC, ISO 8601
  std::vector<std::string> remarks;                        // on the whole, before those on single runs
  Table summary, sentences, scale_free, massive_elements;  // shown where they have rows
  Table seeds;                                             // without rows where no run is repeated
  std::string seed_rule;
  std::vector<std::string> seed_remarks;
  std::vector<Finding> findings, scale;
  std::vector<Section> sections;
  std::vector<std::string> table_files;  // names under tables/
};

std::string to_html(const Study& study, const PageContents& contents);

}  // namespace headroom::report
