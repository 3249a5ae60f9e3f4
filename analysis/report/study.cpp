#include "analysis/report/study.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

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

std::vector<std::string> colors_for(const std::vector<Run>& runs) {
  std::vector<std::string> colors(runs.size());
  const auto taken = [&](const char* color) { return std::find(colors.begin(), colors.end(), color) != colors.end(); };
  for (std::size_t i = 0; i < runs.size(); ++i) {
    std::string letters;
    for (const char c : runs[i].variant) {
      if (std::isalpha(static_cast<unsigned char>(c)))
        letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    for (const Named& named : kNamed) {
      if (letters == named.variant && !taken(named.color)) colors[i] = named.color;
    }
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!colors[i].empty()) continue;
    const auto* free = std::find_if(kColors.begin(), kColors.end(), [&](const char* color) { return !taken(color); });
    colors[i] = free != kColors.end() ? *free : kColors[i % kColors.size()];
  }
  return colors;
}

double common_tokens(const std::vector<Run>& runs) {
  double least = std::numeric_limits<double>::infinity();
  for (const Run& run : runs) {
    if (run.metrics && !run.metrics->steps.empty()) least = std::min(least, run.tokens_seen());
  }
  return std::isfinite(least) ? least : 0.0;
}

// Training tokens at which all runs that have evaluations have one.
std::optional<double> common_evaluation(const std::vector<Run>& runs) {
  std::vector<const MetricsLog*> logs;
  for (const Run& run : runs) {
    if (run.metrics && !run.metrics->evaluations.empty()) logs.push_back(&*run.metrics);
  }
  if (logs.empty()) return std::nullopt;
  std::optional<double> most;
  for (const EvalPoint& point : logs.front()->evaluations) {
    const bool common =
        std::all_of(logs.begin(), logs.end(), [&](const MetricsLog* log) { return log->evaluation_at(point.tokens); });
    if (common && (!most || point.tokens > *most)) most = point.tokens;
  }
  return most;
}

}  // namespace

const EvalPoint* Study::evaluation(std::size_t run) const {
  const auto& metrics = runs[run].metrics;
  if (!metrics || metrics->evaluations.empty()) return nullptr;
  return evaluated_tokens ? metrics->evaluation_at(*evaluated_tokens) : &metrics->evaluations.back();
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
  study.runs = read_runs(directories, thresholds);
  study.baseline = baseline_of(study.runs);
  study.colors = colors_for(study.runs);
  study.equal_tokens = common_tokens(study.runs);
  study.evaluated_tokens = common_evaluation(study.runs);
  return study;
}

}  // namespace headroom::report
