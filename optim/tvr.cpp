#include "optim/tvr.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tensor/ops.h"

namespace headroom {
namespace {

// The target standard deviation of a parameter.
double target_of(const OptimConfig& config, const Parameter& parameter) {
  const double layer = static_cast<double>(parameter.layer + 1);
  return config.tvr.layer_scaled ? config.tvr.target / std::sqrt(layer) : config.tvr.target;
}

// One number per parameter, summed over every rank's segments of TVR's matrices.
template <class OfSegment>
std::vector<double> sum_over_segments(const ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh,
                                      OfSegment of_segment) {
  std::vector<double> sums(store.all().size(), 0.0);
  for (const Segment& segment : shard.segments()) {
    if (!store[segment.parameter].tvr) continue;
    sums[segment.parameter] += of_segment(segment, store.values().flat_range(segment.flat, segment.length));
  }
  mesh.world().all_reduce(std::span<double>(sums), Reduction::sum);
  return sums;
}

}  // namespace

bool tvr_due(const OptimConfig& config, std::int64_t step) {
  return config.tvr.enabled && step % config.tvr.interval == 0;
}

TvrReport apply_tvr(ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config) {
  const std::vector<Parameter>& parameters = store.all();
  std::vector<double> mean =
      sum_over_segments(store, shard, mesh, [](const Segment&, const Tensor& values) { return ops::sum(values); });
  for (std::size_t index = 0; index < mean.size(); ++index) {
    mean[index] /= static_cast<double>(parameters[index].logical.elements());
  }
  std::vector<double> std = sum_over_segments(store, shard, mesh, [&](const Segment& segment, const Tensor& values) {
    return ops::sum_of_squares(values, mean[segment.parameter]);
  });

  TvrReport report;
  std::vector<double> factor(parameters.size(), 1.0);
  std::set<std::string> rescaled;
  for (std::size_t index = 0; index < parameters.size(); ++index) {
    if (!parameters[index].tvr) continue;
    const std::int64_t freedom = std::max<std::int64_t>(1, parameters[index].logical.elements() - 1);
    std[index] = std::sqrt(std[index] / static_cast<double>(freedom));
    const double target = target_of(config, parameters[index]);
    const double ratio = std[index] / target;
    report.max_ratio = std::max(report.max_ratio, ratio);
    ++report.matrices;
    if (ratio > std::max(config.tvr.threshold, 1.0)) {  // never grows a matrix, whatever the threshold
      factor[index] = target / std[index];
      rescaled.insert(parameters[index].name);
      ++report.rescaled;
    }
    report.mean_std += std[index] * factor[index];
  }
  if (report.matrices > 0) report.mean_std /= static_cast<double>(report.matrices);

  for (const Segment& segment : shard.segments()) {
    const Parameter& parameter = parameters[segment.parameter];
    const Tensor values = store.values().flat_range(segment.flat, segment.length);
    if (factor[segment.parameter] != 1.0) {
      ops::rescale_about(mean[segment.parameter], factor[segment.parameter], values);
    } else if (rescaled.contains(parameter.bias_of_tvr)) {
      ops::zero(values);
    }
  }
  return report;
}

}  // namespace headroom
