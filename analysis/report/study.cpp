#include "analysis/report/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <map>

namespace headroom::report {
namespace {

// Okabe and Ito's colours, readable with any colour vision; grey for what the others are compared with.
struct Named {
  const char* variant;  // letters only
  const char* color;
};
constexpr Named kNamed[] = {{"baseline", "#7a8594"}, {"tvr", "#0f7fc2"},       {"kvbias", "#e69f00"},
                            {"dyt", "#009e73"},      {"tvrkvbias", "#d55e00"}, {"kvbiastvr", "#d55e00"},
                            {"tvrdyt", "#c264a0"},   {"dyttvr", "#c264a0"}};
constexpr std::array kColors = {"#0f7fc2", "#e69f00", "#009e73", "#d55e00", "#c264a0",
                                "#56b4e9", "#8f7f00", "#7a8594", "#6a51a3", "#a6611a"};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::optional<std::size_t> baseline_of(const std::vector<Run>& runs, const std::vector<Group>& groups) {
  if (groups.size() < 2) return std::nullopt;
  const auto only = [&](auto&& is_one) -> std::optional<std::size_t> {
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      if (!is_one(groups[i], runs[groups[i].runs.front()])) continue;
      if (found) return std::nullopt;
      found = i;
    }
    return found;
  };
  const auto named = [](const Group&, const Run& run) { return lower(run.variant) == "baseline"; };
  if (const auto one = only(named)) return one;
  if (const auto one = only([&](const Group& group, const Run& run) { return named(group, run) && group.repeated(); }))
    return one;
  return only([](const Group&, const Run& run) { return !run.facts.norm.empty() && !run.facts.mitigated_by_design(); });
}

// Brings the runs of a group together, the baseline's before all.
void order(std::vector<Run>& runs, std::vector<Group>& groups) {
  if (const auto base = baseline_of(runs, groups)) {
    const auto at = groups.begin() + static_cast<std::ptrdiff_t>(*base);
    std::rotate(groups.begin(), at, at + 1);
  }
  std::vector<Run> ordered;
  for (Group& group : groups) {
    for (std::size_t& run : group.runs) {
      ordered.push_back(std::move(runs[run]));
      run = ordered.size() - 1;
    }
  }
  runs = std::move(ordered);
}

// Without seeds a run is called by its variant, or by its name where variants repeat.
void label_runs(std::vector<Run>& runs, std::vector<Group>& groups) {
  const bool seeds = std::any_of(groups.begin(), groups.end(), [](const Group& group) { return group.repeated(); });
  std::map<std::string, int> variants;
  for (const Run& run : runs) ++variants[run.variant];
  std::map<std::string, int> labels;
  for (Group& group : groups) {
    for (const std::size_t index : group.runs) {
      Run& run = runs[index];
      run.label = group.repeated()             ? fmt::format("{}, seed {}", group.label, *run.seed)
                  : seeds                      ? group.label
                  : variants[run.variant] == 1 ? run.variant
                                               : run.name;
      if (const int again = ++labels[run.label]; again > 1) run.label += fmt::format(" ({})", again);
    }
    if (!group.repeated()) group.label = runs[group.runs.front()].label;
  }
}

// A group's runs share theirs.
std::vector<std::string> colors_for(const Study& study) {
  std::vector<std::string> colors(study.groups.size());
  const auto taken = [&](const char* color) { return std::find(colors.begin(), colors.end(), color) != colors.end(); };
  for (std::size_t i = 0; i < colors.size(); ++i) {
    std::string letters;
    for (const char c : study.runs[study.groups[i].runs.front()].variant) {
      if (std::isalpha(static_cast<unsigned char>(c)))
        letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    for (const Named& named : kNamed) {
      if (letters == named.variant && !taken(named.color)) colors[i] = named.color;
    }
  }
  std::vector<std::string> of_runs;
  for (std::size_t i = 0; i < colors.size(); ++i) {
    if (colors[i].empty()) {
      const auto* free = std::find_if(kColors.begin(), kColors.end(), [&](const char* color) { return !taken(color); });
      colors[i] = free != kColors.end() ? *free : kColors[i % kColors.size()];
    }
    of_runs.insert(of_runs.end(), study.groups[i].runs.size(), colors[i]);
  }
  return of_runs;
}

double common_tokens(const Study& study) {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const Run& r = study.runs[run];
    if (r.metrics && !r.metrics->steps.empty() && !study.ended_early(run)) least = std::min(least, r.tokens_seen());
  }
  return std::isfinite(least) ? least : 0.0;
}

// The most training tokens that each of the lists has; empty lists do not count.
std::optional<double> most_in_common(const std::vector<std::vector<double>>& lists) {
  std::optional<double> most;
  const auto first = std::find_if(lists.begin(), lists.end(), [](const auto& list) { return !list.empty(); });
  if (first == lists.end()) return most;
  for (const double tokens : *first) {
    const bool common = std::all_of(lists.begin(), lists.end(), [&](const std::vector<double>& list) {
      return list.empty() || std::find(list.begin(), list.end(), tokens) != list.end();
    });
    if (common && (!most || tokens > *most)) most = tokens;
  }
  return most;
}

std::optional<double> common_evaluation(const Study& study) {
  std::vector<std::vector<double>> lists;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (!study.runs[run].metrics || study.ended_early(run)) continue;
    auto& list = lists.emplace_back();
    for (const EvalPoint& point : study.runs[run].metrics->evaluations) list.push_back(point.tokens);
  }
  return most_in_common(lists);
}

std::optional<double> common_snapshot(const Study& study) {
  std::vector<std::vector<double>> lists;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (study.ended_early(run)) continue;
    auto& list = lists.emplace_back();
    for (const HistoryPoint& point : study.runs[run].history) list.push_back(point.tokens);
  }
  return most_in_common(lists);
}

}  // namespace

bool Study::has_seeds() const {
  return std::any_of(groups.begin(), groups.end(), [](const Group& group) { return group.repeated(); });
}

const Group& Study::group_of(std::size_t run) const {
  return *std::find_if(groups.begin(), groups.end(), [&](const Group& group) {
    return std::find(group.runs.begin(), group.runs.end(), run) != group.runs.end();
  });
}

bool Study::ended_early(std::size_t run) const {
  const auto& sisters = group_of(run).runs;
  return std::any_of(sisters.begin(), sisters.end(),
                     [&](std::size_t other) { return runs[other].tokens_seen() > runs[run].tokens_seen(); });
}

std::vector<std::size_t> Study::shown_runs() const {
  std::vector<std::size_t> shown;
  for (const Group& group : groups) {
    const auto found =
        std::find_if(group.runs.begin(), group.runs.end(), [&](std::size_t run) { return runs[run].last.has_value(); });
    shown.push_back(found == group.runs.end() ? group.runs.front() : *found);
  }
  return shown;
}

std::vector<std::string> Study::names(const std::vector<std::size_t>& of_runs) const {
  const auto among = [&](std::size_t run) { return std::find(of_runs.begin(), of_runs.end(), run) != of_runs.end(); };
  std::vector<std::string> labels;
  for (const std::size_t run : of_runs) {
    const Group& group = group_of(run);
    const bool whole = group.repeated() && std::all_of(group.runs.begin(), group.runs.end(), among);
    if (!whole) {
      labels.push_back(group.repeated() ? fmt::format("{} (seed {})", group.label, *runs[run].seed) : runs[run].label);
    } else if (run == group.runs.front()) {
      labels.push_back(group.label);
    }
  }
  return labels;
}

const EvalPoint* Study::evaluation(std::size_t run) const {
  const auto& metrics = runs[run].metrics;
  if (!metrics || metrics->evaluations.empty()) return nullptr;
  return evaluated_tokens ? metrics->evaluation_at(*evaluated_tokens) : &metrics->evaluations.back();
}

double Study::training_loss(std::size_t run) const {
  const auto& metrics = runs[run].metrics;
  return metrics && runs[run].tokens_seen() >= equal_tokens ? metrics->smoothed_loss_at(equal_tokens) : kUnknown;
}

std::optional<Study::Pair> Study::common_snapshots(std::size_t run) const {
  if (!baseline || *baseline == run) return std::nullopt;
  const auto& own = runs[run].history;
  const auto& base = runs[*baseline].history;
  for (auto mine = own.rbegin(); mine != own.rend(); ++mine) {
    const auto theirs =
        std::find_if(base.begin(), base.end(), [&](const HistoryPoint& p) { return p.tokens == mine->tokens; });
    if (theirs != base.end()) return Pair{&*mine, &*theirs};
  }
  return std::nullopt;
}

Study make_study(const std::vector<std::filesystem::path>& directories, const Thresholds& thresholds) {
  Study study;
  study.thresholds = thresholds;
  for (const auto& directory : directories) study.runs.push_back(read_run(directory, thresholds));
  study.groups = group_by_seed(study.runs);
  order(study.runs, study.groups);
  label_runs(study.runs, study.groups);
  study.baseline_group = baseline_of(study.runs, study.groups);
  if (study.baseline_group && !study.has_seeds()) study.baseline = study.groups[*study.baseline_group].runs.front();
  study.colors = colors_for(study);
  study.equal_tokens = common_tokens(study);
  study.evaluated_tokens = common_evaluation(study);
  study.snapshot_tokens = common_snapshot(study);
  return study;
}

}  // namespace headroom::report
