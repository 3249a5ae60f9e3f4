#include "campaign/plan_table.h"

#include <fmt/format.h>

#include "base/progress.h"
#include "base/system.h"
#include "campaign/duration.h"

namespace headroom::campaign {
namespace {

std::string amount(double value) {
  if (value >= 1e12) return fmt::format("{:.3g} T", value * 1e-12);
  if (value >= 1e9) return fmt::format("{:.3g} B", value * 1e-9);
  if (value >= 1e6) return fmt::format("{:.3g} M", value * 1e-6);
  return fmt::format("{:.0f}", value);
}

std::string memory(const RunCost& cost) {
  const std::string needed = memory_text(static_cast<std::int64_t>(cost.memory_bytes));
  return cost.memory_limit > 0.0
             ? fmt::format("{} of {}", needed, memory_text(static_cast<std::int64_t>(cost.memory_limit)))
             : needed;
}

std::string where(const Spec& spec, const std::optional<Site>& site) {
  const Resources& resources = spec.resources;
  const std::string ranks = fmt::format("{} node{} x {} rank{}", resources.nodes, resources.nodes == 1 ? "" : "s",
                                        resources.ranks_per_node, resources.ranks_per_node == 1 ? "" : "s");
  if (!site && resources.nodes > 1) return ranks + " of a cluster (--site)";
  if (!site) return ranks + " of this machine";
  return fmt::format("{} of {}, jobs of {}", ranks, site->name, duration_text(resources.seconds));
}

}  // namespace

std::string plan_table(const Spec& spec, const std::optional<Site>& site, const std::vector<PlannedRun>& runs,
                       const CampaignCost& cost) {
  std::size_t width = 5;
  for (const PlannedRun& run : runs) width = std::max(width, run.group.size());
  std::string text = fmt::format("{}: {} run{}, each on {}\n\n", spec.name, runs.size(), runs.size() == 1 ? "" : "s",
                                 where(spec, site));
  text +=
      fmt::format("{:<{}}  {:>5}  {:>10}  {:>9}  {:>8}  {:>14}  {}\n", "runs", width, "seeds", "parameters", "tokens",
                  "steps", "time each", spec.resources.gpus_per_node > 0 ? "memory of a GPU" : "memory of a node");
  for (std::size_t index = 0; index < runs.size();) {
    std::size_t seeds = 1;
    while (index + seeds < runs.size() && runs[index + seeds].group == runs[index].group) ++seeds;
    const RunCost& one = cost.runs[index];
    text += fmt::format("{:<{}}  {:>5}  {:>10}  {:>9}  {:>8}  {:>14}  {}\n", runs[index].group, width, seeds,
                        amount(one.parameters), amount(one.tokens), runs[index].config.train.steps,
                        format_duration(one.seconds), memory(one));
    index += seeds;
  }
  text += fmt::format("\nTogether {} tokens and {:.3g} node hours", amount(cost.tokens), cost.node_hours);
  if (cost.seconds > 0.0) text += fmt::format(", about {} here", format_duration(cost.seconds));
  text += fmt::format(".\nTimes are predictions: {}.\n", cost.basis);
  return text;
}

}  // namespace headroom::campaign
