#include "analysis/report/weight_kinds.h"

#include <algorithm>

#include "analysis/report/unknown.h"

namespace headroom::report {

std::string matrix_kind(const std::string& name) {
  if (!name.starts_with("layers.") || !name.ends_with(".weight") || name.find("norm") != std::string::npos) return {};
  const std::size_t begin = name.find('.', 7);
  return begin + 8 < name.size() ? name.substr(begin + 1, name.size() - begin - 8) : std::string{};
}

std::vector<std::string> matrix_kinds(const WeightStatistics& weights) {
  std::vector<std::string> kinds;
  for (const std::string& name : weights.names) {
    const std::string kind = matrix_kind(name);
    if (!kind.empty() && std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  }
  return kinds;
}

std::map<std::int64_t, double> layer_stds(const WeightStatistics& weights, const std::string& kind) {
  std::map<std::int64_t, double> out;
  for (std::size_t i = 0; i < weights.names.size(); ++i) {
    if (matrix_kind(weights.names[i]) == kind) out[weights.layer[i]] = weights.std[i];
  }
  return out;
}

double mean_std(const WeightStatistics& weights, const std::string& kind) {
  const auto stds = layer_stds(weights, kind);
  double sum = 0.0;
  for (const auto& [layer, std] : stds) sum += std;
  return stds.empty() ? kUnknown : sum / static_cast<double>(stds.size());
}

}  // namespace headroom::report
