// `headroom analyze`: run directories in, a report directory out. Needs no network, accelerator or MPI.
//   index.html          one self-contained page
//   figures/*.svg       its figures
//   tables/*.csv,*.json its numbers, and those behind the figures; findings.json
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/report/measures.h"

namespace headroom::report {

struct ReportOptions {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path out;         // empty: RUN/report for one run, report-A-B beside the first run for several
  std::string title;                 // empty: made of the runs' names
  std::vector<std::string> remarks;  // the caller's own: what a reader should know that the runs do not say
  Thresholds thresholds;
};

// Writes the report and returns the path of its index.html. The directory is made beside its place and renamed, so that
// a report is whole or absent; an earlier report there is replaced, anything else is refused (ExitCode::usage).
// Throws as read_runs does for what it reads, std::filesystem::filesystem_error or ExitCode::disk_full for what it
// writes.
std::filesystem::path write_report(const ReportOptions& options);

}  // namespace headroom::report
