#include "analysis/report/seed_findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/report/format.h"

namespace headroom::report {
namespace {

constexpr const char* kRanged[] = {"max", "ratio", "perplexity"};

// "Max |h| ranges from 1 (a) to 2 (b), means over the seeds": where a mean is known of two groups and they differ.
std::string range_of(const Study& study, const SeedMeasure& measure, const std::vector<SeedFigure>& figures) {
  std::optional<std::size_t> low;
  std::optional<std::size_t> high;
  for (std::size_t g = 0; g < figures.size(); ++g) {
    const double mean = figures[g].estimate.mean;
    if (!std::isfinite(mean)) continue;
    if (!low || mean < figures[*low].estimate.mean) low = g;
    if (!high || mean > figures[*high].estimate.mean) high = g;
  }
  if (!low) return {};
  const Estimate& least = figures[*low].estimate;
  const Estimate& most = figures[*high].estimate;
  const std::string from = shown_value(measure, least.mean);
  const std::string to = shown_value(measure, most.mean);
  if (from == to) return {};
  const char* intervals = !least.has_interval() || !most.has_interval() ? "one of them without an interval"
                          : separate(least, most)                       ? "their intervals do not overlap"
                                                                        : "their intervals overlap";
  return fmt::format("{}, mean over the seeds, ranges from {} ({}) to {} ({}); {}.", measure.title, from,
                     study.groups[*low].label, to, study.groups[*high].label, intervals);
}

std::string against_baseline(const Study& study, const SeedComparison& seeds, std::size_t group) {
  if (!study.baseline_group || *study.baseline_group == group) return {};
  const std::string& base = study.groups[*study.baseline_group].label;
  std::vector<std::string> apart;
  std::size_t compared = 0;
  for (std::size_t m = 0; m < seeds.measures.size(); ++m) {
    const SeedMeasure& measure = seeds.measures[m];
    const SeedFigure& own = seeds.figures[m][group];
    compared += own.compared ? 1 : 0;
    if (!own.apart) continue;
    apart.push_back(fmt::format("{} is {} ({} against {})", measure.title, change_words(measure, own),
                                shown_value(measure, own.estimate.mean),
                                shown_value(measure, seeds.figures[m][*study.baseline_group].estimate.mean)));
  }
  if (compared == 0) return {};
  if (apart.empty()) {
    return fmt::format("Against {}: the intervals of all {} measures compared overlap.", base, compared);
  }
  std::string text = fmt::format("Against {}, by intervals that do not overlap: {}.", base, fmt::join(apart, "; "));
  if (apart.size() < compared) {
    const std::size_t rest = compared - apart.size();
    text += rest == 1 ? " The intervals of the other measure overlap."
                      : fmt::format(" The intervals of the other {} measures overlap.", rest);
  }
  return text;
}

// "channel (12 twice, 36)", most first.
std::string counted(const char* what, const std::map<std::int64_t, std::size_t>& counts) {
  std::vector<std::pair<std::int64_t, std::size_t>> list(counts.begin(), counts.end());
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> parts;
  for (const auto& [value, count] : list) {
    parts.push_back(count == 1   ? fmt::format("{}", value)
                    : count == 2 ? fmt::format("{} twice", value)
                                 : fmt::format("{} {} times", value, count));
  }
  return fmt::format("{} ({})", what, fmt::join(parts, ", "));
}

// Whether the seeds have their largest activation in the same place.
std::string peaks(const Study& study, const Group& group) {
  std::map<std::int64_t, std::size_t> layers, channels, positions;
  std::size_t count = 0;
  for (const std::size_t run : group.runs) {
    const SetMeasures* m = study.main(run);
    if (!m || m->peak.layer < 0 || !std::isfinite(m->peak.value)) continue;
    ++count;
    ++layers[m->peak.layer];
    ++channels[m->peak.channel];
    ++positions[m->peak.token];
  }
  if (count < 2) return {};
  std::vector<std::string> same;
  std::vector<std::string> other;
  for (const auto& [what, values] : {std::pair{"layer", &layers}, {"channel", &channels}, {"position", &positions}}) {
    if (values->size() == 1) {
      same.push_back(fmt::format("{} {}", what, values->begin()->first));
    } else {
      other.push_back(counted(what, *values));
    }
  }
  std::string text = fmt::format("The largest activation of each of {} seeds: ", count);
  if (!same.empty()) text += fmt::format("{} in all of them", fmt::join(same, ", "));
  if (!same.empty() && !other.empty()) text += "; ";
  if (!other.empty()) text += fmt::format("they differ in {}", fmt::join(other, ", "));
  return text + ".";
}

}  // namespace

std::vector<std::string> across_groups(const Study& study, const SeedComparison& seeds) {
  std::vector<std::string> out;
  for (const char* key : kRanged) {
    for (std::size_t m = 0; m < seeds.measures.size(); ++m) {
      if (seeds.measures[m].key != key) continue;
      std::string text = range_of(study, seeds.measures[m], seeds.figures[m]);
      if (!text.empty()) out.push_back(std::move(text));
    }
  }
  return out;
}

std::vector<std::string> group_findings(const Study& study, const SeedComparison& seeds, std::size_t group) {
  std::vector<std::string> out;
  if (!study.groups[group].repeated()) return out;
  for (std::string text : {against_baseline(study, seeds, group), peaks(study, study.groups[group])}) {
    if (!text.empty()) out.push_back(std::move(text));
  }
  return out;
}

}  // namespace headroom::report
