#include "campaign/status_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/progress.h"

namespace headroom::campaign {
namespace {

using Row = std::array<std::string, 9>;

std::string number_or_dash(double value, const char* format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "-";
}

Row row_of(const RunStatus& status) {
  Row row;
  row.fill("-");
  row[0] = status.run->name;
  row[1] = name_of(status.state.phase);
  row[2] = fmt::format("{}/{}", status.progress ? status.progress->step : 0, status.run->steps);
  if (status.progress) {
    row[3] = std::isnan(status.progress->loss) ? "not finite" : fmt::format("{:.4f}", status.progress->loss);
    row[4] = number_or_dash(status.progress->tokens_per_second, "{:.0f}");
    row[6] = number_or_dash(status.progress->ratio, "{:.4g}");
  }
  if (const auto left = status.seconds_left()) row[5] = format_duration(*left);
  row[7] = std::to_string(status.state.restarts);
  row[8] = status.state.detail;
  if (status.state.phase == Phase::running && !status.progress) row[8] += " (starting)";
  return row;
}

nlohmann::ordered_json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

// Seconds until all is done: what is left of every run that is to go on, at its own pace or the others' median.
std::optional<double> seconds_left(const std::vector<RunStatus>& runs, int at_once) {
  std::vector<double> paces;
  for (const RunStatus& status : runs) {
    if (status.progress && status.progress->step_seconds > 0.0) paces.push_back(status.progress->step_seconds);
  }
  if (paces.empty() || at_once == 0) return {};
  std::nth_element(paces.begin(), paces.begin() + static_cast<std::ptrdiff_t>(paces.size() / 2), paces.end());
  const double pace = paces[paces.size() / 2];
  double work = 0.0;
  double longest = 0.0;
  for (const RunStatus& status : runs) {
    const Phase phase = status.state.phase;
    if (phase != Phase::waiting && phase != Phase::running && phase != Phase::queued && phase != Phase::lost) continue;
    const auto steps = static_cast<double>(status.run->steps - (status.progress ? status.progress->step : 0));
    const double own =
        steps * (status.progress && status.progress->step_seconds > 0.0 ? status.progress->step_seconds : pace);
    work += own;
    longest = std::max(longest, own);
  }
  if (work == 0.0) return {};
  return std::max(longest, work / at_once);
}

}  // namespace

std::string status_table(const std::vector<RunStatus>& runs) {
  std::vector<Row> rows = {{"run", "state", "step", "loss", "tokens/s", "left", "max/median", "restarts", ""}};
  for (const RunStatus& status : runs) rows.push_back(row_of(status));
  std::array<std::size_t, 9> widths{};
  for (const Row& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string table;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      const bool words = column < 2 || column == 8;
      line += words ? fmt::format("{:<{}}  ", row[column], widths[column])
                    : fmt::format("{:>{}}  ", row[column], widths[column]);
    }
    table += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return table;
}

std::string status_line(const std::vector<RunStatus>& runs, int at_once) {
  std::vector<std::string> parts;
  for (const Phase phase : {Phase::finished, Phase::running, Phase::queued, Phase::waiting, Phase::stopped,
                            Phase::cancelled, Phase::failed, Phase::lost, Phase::unknown}) {
    const auto count =
        std::count_if(runs.begin(), runs.end(), [&](const RunStatus& status) { return status.state.phase == phase; });
    if (count > 0) parts.push_back(fmt::format("{} {}", count, name_of(phase)));
  }
  const auto left = seconds_left(runs, at_once);
  return fmt::format("{} run{}: {}{}", runs.size(), runs.size() == 1 ? "" : "s", fmt::join(parts, ", "),
                     left ? fmt::format("; about {} left", format_duration(*left)) : "");
}

nlohmann::ordered_json status_json(const Campaign& campaign, const std::vector<RunStatus>& runs) {
  nlohmann::ordered_json json = {
      {"name", campaign.name}, {"directory", campaign.directory.string()}, {"runs", nlohmann::ordered_json::array()}};
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  for (const RunStatus& status : runs) {
    const RunProgress progress = status.progress.value_or(RunProgress{0, kUnknown, kUnknown, kUnknown, kUnknown});
    json["runs"].push_back({{"run", status.run->name},
                            {"group", status.run->group},
                            {"seed", status.run->seed},
                            {"state", name_of(status.state.phase)},
                            {"detail", status.state.detail},
                            {"job", status.state.job ? nlohmann::ordered_json(*status.state.job) : nullptr},
                            {"restarts", status.state.restarts},
                            {"step", progress.step},
                            {"steps", status.run->steps},
                            {"loss", number_or_null(progress.loss)},
                            {"tokens_per_second", number_or_null(progress.tokens_per_second)},
                            {"seconds_left", number_or_null(status.seconds_left().value_or(kUnknown))},
                            {"ratio", number_or_null(progress.ratio)}});
  }
  return json;
}

}  // namespace headroom::campaign
