#include "campaign/campaign_report.h"

#include <fmt/format.h>

#include "analysis/report/report.h"
#include "base/error.h"

namespace headroom::campaign {

std::filesystem::path write_campaign_report(const Campaign& campaign, const std::vector<RunStatus>& runs) {
  report::ReportOptions options;
  options.out = campaign.report_directory();
  options.title = campaign.report.title.empty() ? campaign.name : campaign.report.title;
  options.thresholds = {campaign.report.absolute, campaign.report.ratio, campaign.report.sink};
  for (const RunStatus& status : runs) {
    if (status.progress) options.runs.push_back(campaign.run_directory(status.run->name));
  }
  if (options.runs.empty()) {
    throw Error(ExitCode::bad_data, fmt::format("no run of {} has trained a step yet", campaign.directory.string()),
                "`headroom campaign status` says how far they are.");
  }
  return report::write_report(options);
}

}  // namespace headroom::campaign
