#include "campaign/campaign_report.h"

#include <fmt/format.h>

#include "analysis/report/report.h"
#include "base/error.h"
#include "campaign/status.h"

namespace headroom::campaign {

std::filesystem::path write_campaign_report(const Campaign& campaign, std::vector<std::string>& left_out) {
  report::ReportOptions options;
  options.out = campaign.report_directory();
  options.title = campaign.report.title.empty() ? campaign.name : campaign.report.title;
  options.thresholds = {campaign.report.absolute, campaign.report.ratio, campaign.report.sink};
  std::string away;
  for (const RunStatus& status : read_status_even_if_away(campaign, away)) {
    const std::string& run = status.run->name;
    if (status.progress) {
      options.runs.push_back(campaign.run_directory(run));
    } else {
      const RunState& state = status.state;
      left_out.push_back(fmt::format("{} has not trained a step: {}{}{}", run, name_of(state.phase),
                                     state.detail.empty() ? "" : ", ", state.detail));
    }
  }
  options.remarks = left_out;
  if (options.runs.empty()) {
    throw Error(ExitCode::bad_data, fmt::format("no run of {} has trained a step yet", campaign.directory.string()),
                "`headroom campaign status` says how far they are.");
  }
  return report::write_report(options);
}

}  // namespace headroom::campaign
