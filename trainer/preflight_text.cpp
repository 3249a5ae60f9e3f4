#include "trainer/preflight_text.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/system.h"

namespace headroom {
namespace {

struct Unit {
  double size;
  const char* name;
};

// In the largest unit that leaves at least 1, or in the smallest.
std::string in_units(double value, std::initializer_list<Unit> units) {
  if (std::isnan(value)) return "-";
  const Unit* chosen = units.begin();
  while (chosen + 1 != units.end() && std::abs(value) < chosen->size) ++chosen;
  return fmt::format("{:.3g} {}", value / chosen->size, chosen->name);
}

constexpr std::size_t kColumns = 8;
using Row = std::array<std::string, kColumns>;

std::string aligned(const std::vector<Row>& rows) {
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < kColumns; ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    table += line + '\n';
  }
  return table;
}

// The node's exchanges with its neighbours, the slower one.
double slowest_pair(const PreflightFigures& figures, std::size_t node) {
  double slowest = kNotMeasured;
  for (const PairFigures& pair : figures.pairs) {
    if (pair.first == node || pair.second == node) slowest = std::fmin(slowest, pair.bandwidth);
  }
  return slowest;
}

std::string clock_text(const PreflightFigures& figures, std::size_t node) {
  if (node == 0) return "reference";
  const ClockOffset& clock = figures.nodes[node].clock;
  return fmt::format("{}{} +- {}", clock.seconds < 0.0 ? "" : "+", seconds_text(clock.seconds),
                     seconds_text(clock.uncertainty));
}

std::string table_of(const PreflightFigures& figures, const PreflightVerdict& verdict) {
  std::vector<Row> rows = {{"node", "ranks", "product", "in the node", "neighbours", "disk write, read", "clock", ""}};
  for (std::size_t node = 0; node < figures.nodes.size(); ++node) {
    const NodeFigures& one = figures.nodes[node];
    rows.push_back({one.name, ranges_text(one.ranks), flops_text(figures.slowest_product(node)), rate_text(one.inner),
                    rate_text(slowest_pair(figures, node)),
                    fmt::format("{}, {}", rate_text(one.write), rate_text(one.read)), clock_text(figures, node),
                    std::string(name_of(verdict.fitness(node)))});
  }
  return aligned(rows);
}

std::string counted(std::size_t number, const char* what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

std::string verdict_line(const PreflightFigures& figures, const PreflightVerdict& verdict) {
  std::string text = "fit";
  if (!verdict.findings.empty()) text = "not fit:";
  for (const std::size_t node : verdict.bad_nodes()) text += " " + figures.nodes[node].name;
  if (!verdict.disk_trouble.empty()) text = "the run directory cannot be used";
  return fmt::format("preflight: {} ({}, {}, {:.1f} s)", text, counted(figures.nodes.size(), "node"),
                     counted(figures.ranks.size(), "rank"), figures.seconds);
}

}  // namespace

std::string flops_text(double flops_per_second) {
  return in_units(flops_per_second, {{1e12, "TFLOP/s"}, {1e9, "GFLOP/s"}, {1e6, "MFLOP/s"}});
}

std::string rate_text(double bytes_per_second) {
  return in_units(bytes_per_second, {{1e9, "GB/s"}, {1e6, "MB/s"}, {1e3, "kB/s"}});
}

std::string seconds_text(double seconds) {
  return in_units(seconds, {{1.0, "s"}, {1e-3, "ms"}, {1e-6, "us"}});
}

std::string ranges_text(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t first = 0, last = 0; first < numbers.size(); first = last + 1) {
    last = first;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ",";
    text += last == first ? fmt::format("{}", numbers[first]) : fmt::format("{}-{}", numbers[first], numbers[last]);
  }
  return text;
}

std::string places_text(const PreflightFigures& figures) {
  std::string text;
  for (const NodeFigures& node : figures.nodes) {
    text += fmt::format("{}{}: {} {}", text.empty() ? "" : "; ", node.name, node.ranks.size() == 1 ? "rank" : "ranks",
                        ranges_text(node.ranks));
  }
  return text;
}

std::string preflight_text(const PreflightFigures& figures, const PreflightVerdict& verdict) {
  const RankFigures& first = figures.ranks.front();
  std::string text = fmt::format("{}, {}\n", first.program, first.libraries);
  if (!first.gpu_software.empty()) text += first.gpu_software + "\n";
  text += fmt::format("computes on {}{}", figures.device, figures.device == "cuda" ? ": " + first.gpus : "");
  if (!figures.transport.empty()) text += "; tensors go by " + figures.transport;
  text += fmt::format("\nexchanges of {}, files of {}; bandwidths are the bus's\n\n",
                      memory_text(figures.exchange_bytes), memory_text(figures.disk_bytes));
  text += table_of(figures, verdict);
  if (!std::isnan(figures.across)) {
    text += fmt::format("\nall-reduce over one rank a node: {}\n", rate_text(figures.across));
    for (const PairFigures& pair : figures.pairs) {
      text += fmt::format("  {} - {}: {}\n", figures.nodes[pair.first].name, figures.nodes[pair.second].name,
                          rate_text(pair.bandwidth));
    }
  }
  text += "\n";
  for (const std::string& warning : verdict.warnings) text += "warning: " + warning + "\n";
  return text + verdict_line(figures, verdict) + "\n";
}

nlohmann::ordered_json preflight_json(const PreflightFigures& figures, const PreflightVerdict& verdict,
                                      const PreflightLimits& limits) {
  using nlohmann::ordered_json;
  const RankFigures& first = figures.ranks.front();
  ordered_json record = {{"fit", verdict.findings.empty() && verdict.disk_trouble.empty()},
                         {"time", utc_time()},
                         {"seconds", figures.seconds},
                         {"program", first.program},
                         {"libraries", first.libraries},
                         {"gpu_software", first.gpu_software},
                         {"device", figures.device},
                         {"transport", figures.transport},
                         {"slow_ratio", limits.slow_ratio},
                         {"max_skew", limits.max_skew},
                         {"exchange_bytes", figures.exchange_bytes},
                         {"disk_bytes", figures.disk_bytes},
                         {"across", figures.across},
                         {"disk_trouble", verdict.disk_trouble},
                         {"warnings", verdict.warnings},
                         {"nodes", ordered_json::array()},
                         {"pairs", ordered_json::array()}};
  for (std::size_t node = 0; node < figures.nodes.size(); ++node) {
    const NodeFigures& one = figures.nodes[node];
    ordered_json entry = {{"name", one.name},
                          {"verdict", name_of(verdict.fitness(node))},
                          {"ranks", one.ranks},
                          {"product", figures.slowest_product(node)},
                          {"inner", one.inner},
                          {"write", one.write},
                          {"read", one.read},
                          {"clock", one.clock.seconds},
                          {"clock_uncertainty", one.clock.uncertainty},
                          {"products", ordered_json::array()},
                          {"gpus", ordered_json::array()},
                          {"findings", ordered_json::array()}};
    for (const int rank : one.ranks) {
      entry["products"].push_back(figures.ranks[static_cast<std::size_t>(rank)].product);
      entry["gpus"].push_back(figures.ranks[static_cast<std::size_t>(rank)].gpus);
    }
    for (const Finding& finding : verdict.findings) {
      if (finding.node != node) continue;
      entry["findings"].push_back({{"verdict", name_of(finding.fitness)},
                                   {"measure", finding.measure},
                                   {"text", finding.text},
                                   {"figure", finding.figure},
                                   {"compared", finding.compared}});
    }
    record["nodes"].push_back(std::move(entry));
  }
  for (const PairFigures& pair : figures.pairs) {
    record["pairs"].push_back(
        {{"nodes", {figures.nodes[pair.first].name, figures.nodes[pair.second].name}}, {"bandwidth", pair.bandwidth}});
  }
  return record;
}

std::string bad_nodes_text(const PreflightFigures& figures, const PreflightVerdict& verdict) {
  std::string text;
  for (const std::size_t node : verdict.bad_nodes()) text += figures.nodes[node].name + "\n";
  return text;
}

}  // namespace headroom
