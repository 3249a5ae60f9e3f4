#include "campaign/campaign_report.h"

#include <fmt/format.h>

#include "analysis/report/report.h"
#include "base/error.h"
#include "campaign/run_progress.h"

namespace headroom::campaign {

std::filesystem::path write_campaign_report(const Campaign& campaign, std::vector<std::string>& left_out) {
  report::ReportOptions options;
  options.out = campaign.report_directory();
  options.title = campaign.report.title.empty() ? campaign.name : campaign.report.title;
  options.thresholds = {campaign.report.absolute, campaign.report.ratio, campaign.report.sink};
  for (const RunEntry& run : campaign.runs) {
    const std::filesystem::path directory = campaign.run_directory(run.name);
    if (read_progress(directory / "metrics.jsonl")) {
      options.runs.push_back(directory);
    } else {
      left_out.push_back(run.name);
    }
  }
  if (options.runs.empty()) {
    throw Error(ExitCode::bad_data, fmt::format("no run of {} has trained a step yet", campaign.directory.string()),
                "`headroom campaign status` says how far they are.");
  }
  return report::write_report(options);
}

}  // namespace headroom::campaign
