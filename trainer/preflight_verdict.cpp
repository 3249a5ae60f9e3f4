#include "trainer/preflight_verdict.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"
#include "trainer/preflight_text.h"

namespace headroom {
namespace {

// The slower of the two middle ones where their number is even; nothing where no speed was measured.
std::optional<double> slower_median(std::vector<double> speeds) {
  std::erase_if(speeds, [](double speed) { return std::isnan(speed); });
  if (speeds.empty()) return std::nullopt;
  const auto middle = speeds.begin() + (std::ssize(speeds) - 1) / 2;
  std::nth_element(speeds.begin(), middle, speeds.end());
  return *middle;
}

bool is_slow(double speed, double median, double ratio) {
  return speed * ratio < median;
}

// "8.5 GFLOP/s; the median of the other nodes is 85 GFLOP/s, 10 times that (limit 3)".
std::string comparison(const std::string& figure, const std::string& others, const std::string& median,
                       const SlowNode& slow, double speed, double ratio) {
  const std::string times = speed > 0.0 ? fmt::format(", {:.3g} times that", slow.median / speed) : "";
  return fmt::format("{}; {} {}{} (limit {:.3g})", figure, others, median, times, ratio);
}

class Judge {
 public:
  Judge(const PreflightFigures& figures, const PreflightLimits& limits) : figures_(figures), limits_(limits) {}

  PreflightVerdict verdict() {
    judge_troubles();
    judge_gpu_counts();
    judge_likeness("versions", &RankFigures::program);
    judge_likeness("versions", &RankFigures::libraries);
    judge_likeness("GPU software", &RankFigures::gpu_software);
    judge_likeness("GPUs", &RankFigures::gpus);
    judge_products();
    judge_inner();
    judge_pairs();
    judge_disks();
    judge_clocks();
    std::stable_sort(verdict_.findings.begin(), verdict_.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.node < b.node; });
    return std::move(verdict_);
  }

 private:
  void judge_troubles() {
    for (std::size_t rank = 0; rank < figures_.ranks.size(); ++rank) {
      const RankFigures& one = figures_.ranks[rank];
      if (!one.trouble.empty()) broken(one.node, "device", fmt::format("rank {}: {}", rank, one.trouble));
    }
  }

  // A node's ranks take one GPU each of those that they all see; where they see one each, the launcher has shared them
  // out.
  void judge_gpu_counts() {
    for (std::size_t node = 0; node < figures_.nodes.size(); ++node) {
      const std::vector<int>& ranks = figures_.nodes[node].ranks;
      const int gpus = figures_.ranks[static_cast<std::size_t>(ranks.front())].gpu_count;
      if (gpus > 1 && gpus < std::ssize(ranks)) {
        broken(node, "GPUs", fmt::format("{} for the node's {} ranks", gpus, ranks.size()));
      }
    }
  }

  // What most ranks have is right; of several equally common ones, what the lowest rank has. One finding a node.
  void judge_likeness(const std::string& measure, std::string RankFigures::*what) {
    std::map<std::string, int> counts;
    for (const RankFigures& one : figures_.ranks) ++counts[one.*what];
    const std::string* common = nullptr;
    for (const RankFigures& one : figures_.ranks) {
      if (common == nullptr || counts[one.*what] > counts[*common]) common = &(one.*what);
    }
    std::vector<bool> named(figures_.nodes.size(), false);
    for (std::size_t rank = 0; rank < figures_.ranks.size(); ++rank) {
      const RankFigures& one = figures_.ranks[rank];
      if (one.*what == *common || named[one.node]) continue;
      named[one.node] = true;
      broken(one.node, measure,
             fmt::format("rank {} has {}, most ranks have {}", rank, worded(one.*what), worded(*common)));
    }
  }

  void judge_products() {
    std::vector<double> speeds;
    for (std::size_t node = 0; node < figures_.nodes.size(); ++node) speeds.push_back(figures_.slowest_product(node));
    judge_speeds("matrix product", speeds, flops_text, "the median of the other nodes is");
  }

  // An all-reduce's speed depends on how many ranks take part.
  void judge_inner() {
    std::map<std::size_t, std::vector<double>> by_size;
    for (const NodeFigures& node : figures_.nodes) by_size.try_emplace(node.ranks.size());
    for (auto& [size, speeds] : by_size) {
      for (const NodeFigures& node : figures_.nodes) {
        speeds.push_back(node.ranks.size() == size ? node.inner : kNotMeasured);
      }
      judge_speeds("all-reduce inside the node", speeds, rate_text, "the median of the other nodes is");
    }
  }

  void judge_pairs() {
    for (const SlowNode& slow : slow_nodes(figures_.pairs, figures_.nodes.size(), limits_.slow_ratio)) {
      double best = 0.0;
      for (const PairFigures& pair : figures_.pairs) {
        const bool own = pair.first == slow.node || pair.second == slow.node;
        if (own && !std::isnan(pair.bandwidth)) best = std::max(best, pair.bandwidth);
      }
      add_slow("exchange with neighbours", slow, best, rate_text, "the median of pairs without it is");
    }
  }

  void judge_disks() {
    std::vector<double> write;
    std::vector<double> read;
    std::size_t cannot = 0;
    for (const NodeFigures& node : figures_.nodes) {
      write.push_back(node.write);
      read.push_back(node.read);
      cannot += node.disk_trouble.empty() ? 0 : 1;
    }
    // Of a node alone, space and quotas are nobody's fault who could be left out.
    const bool all = cannot > 0 && cannot == figures_.nodes.size();
    if (all && (cannot > 1 || figures_.nodes.front().disk_full)) {
      verdict_.disk_trouble = figures_.nodes.front().disk_trouble;
      return;
    }
    for (std::size_t node = 0; node < figures_.nodes.size(); ++node) {
      if (!figures_.nodes[node].disk_trouble.empty()) broken(node, "run directory", figures_.nodes[node].disk_trouble);
    }
    judge_speeds("writing the run directory", write, rate_text, "the median of the other nodes is");
    judge_speeds("reading the run directory", read, rate_text, "the median of the other nodes is");
  }

  void judge_clocks() {
    for (const NodeFigures& node : figures_.nodes) {
      if (std::abs(node.clock.seconds) <= limits_.max_skew) continue;
      verdict_.warnings.push_back(fmt::format(
          "the clock of {} is {} {} that of {} (limit {:.3g} s): times of files and logs will mislead; see that its "
          "clock is synchronised",
          node.name, seconds_text(std::abs(node.clock.seconds)), node.clock.seconds > 0.0 ? "ahead of" : "behind",
          figures_.nodes.front().name, limits_.max_skew));
    }
  }

  template <class Words>
  void judge_speeds(const std::string& measure, const std::vector<double>& speeds, const Words& words,
                    const std::string& others) {
    for (const SlowNode& slow : slow_nodes(speeds, limits_.slow_ratio)) {
      add_slow(measure, slow, speeds[slow.node], words, others);
    }
  }

  template <class Words>
  void add_slow(const std::string& measure, const SlowNode& slow, double speed, const Words& words,
                const std::string& others) {
    const std::string text = comparison(words(speed), others, words(slow.median), slow, speed, limits_.slow_ratio);
    if (limits_.tolerate_slow) {
      verdict_.warnings.push_back(fmt::format("{} is slow: {}: {}", figures_.nodes[slow.node].name, measure, text));
    } else {
      verdict_.findings.push_back({slow.node, Fitness::slow, measure, text, speed, slow.median});
    }
  }

  void broken(std::size_t node, const std::string& measure, const std::string& text) {
    verdict_.findings.push_back({node, Fitness::broken, measure, text});
  }

  static std::string worded(const std::string& text) { return text.empty() ? "none" : text; }

  const PreflightFigures& figures_;
  const PreflightLimits limits_;
  PreflightVerdict verdict_;
};

}  // namespace

double PreflightFigures::slowest_product(std::size_t node) const {
  double slowest = kNotMeasured;
  for (const int rank : nodes[node].ranks) {
    slowest = std::fmin(slowest, ranks[static_cast<std::size_t>(rank)].product);  // of a NaN and a number the number
  }
  return slowest;
}

Fitness PreflightVerdict::fitness(std::size_t node) const {
  Fitness worst = Fitness::fit;
  for (const Finding& finding : findings) {
    if (finding.node == node) worst = std::max(worst, finding.fitness);
  }
  return worst;
}

std::vector<std::size_t> PreflightVerdict::bad_nodes() const {
  std::vector<std::size_t> nodes;
  for (const Finding& finding : findings) {
    if (nodes.empty() || nodes.back() != finding.node) nodes.push_back(finding.node);
  }
  return nodes;
}

PreflightVerdict judge(const PreflightFigures& figures, const PreflightLimits& limits) {
  return Judge(figures, limits).verdict();
}

std::vector<SlowNode> slow_nodes(std::span<const double> speeds, double ratio) {
  std::vector<SlowNode> found;
  for (std::size_t node = 0; node < speeds.size(); ++node) {
    std::vector<double> others(speeds.begin(), speeds.end());
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(node));
    const std::optional<double> median = slower_median(std::move(others));
    if (median && is_slow(speeds[node], *median, ratio)) found.push_back({node, *median});
  }
  return found;
}

std::vector<SlowNode> slow_nodes(std::span<const PairFigures> pairs, std::size_t nodes, double ratio) {
  std::vector<SlowNode> found;
  for (std::size_t node = 0; node < nodes; ++node) {
    std::vector<double> own;
    std::vector<double> others;
    for (const PairFigures& pair : pairs) {
      if (std::isnan(pair.bandwidth)) continue;
      (pair.first == node || pair.second == node ? own : others).push_back(pair.bandwidth);
    }
    const std::optional<double> median = slower_median(std::move(others));
    if (!median || own.empty()) continue;
    if (std::all_of(own.begin(), own.end(), [&](double speed) { return is_slow(speed, *median, ratio); })) {
      found.push_back({node, *median});
    }
  }
  return found;
}

}  // namespace headroom
