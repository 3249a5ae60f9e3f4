#include "optim/tvr.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/transfer.h"

namespace headroom {
namespace {

// The target standard deviation of a matrix; 0 for what is none of TVR's.
double target_of(const OptimConfig& config, const Parameter& parameter) {
  if (!parameter.tvr) return 0.0;
  const double layer = static_cast<double>(parameter.layer + 1);
  return config.tvr.layer_scaled ? config.tvr.target / std::sqrt(layer) : config.tvr.target;
}

PieceTable table_of_matrices(const ParameterStore& store, const OptimizerShard& shard) {
  return PieceTable(shard, [&](const Segment& segment) {
    return PieceRole{.included = store[segment.parameter].tvr, .group = static_cast<std::int64_t>(segment.parameter)};
  });
}

// The matrices' pieces, and their biases' as pieces of the matrix' group that are zeroed.
PieceTable table_of_rescaled(const ParameterStore& store, const OptimizerShard& shard) {
  std::map<std::string, std::size_t> matrices;
  for (std::size_t index = 0; index < store.all().size(); ++index) {
    if (store[index].tvr) matrices[store[index].name] = index;
  }
  return PieceTable(shard, [&](const Segment& segment) {
    const Parameter& parameter = store[segment.parameter];
    if (parameter.tvr) return PieceRole{.group = static_cast<std::int64_t>(segment.parameter)};
    const auto matrix = matrices.find(parameter.bias_of_tvr);
    if (matrix == matrices.end()) return PieceRole{.included = false};
    return PieceRole{.group = static_cast<std::int64_t>(matrix->second), .flags = Piece::kZero};
  });
}

}  // namespace

Tvr::Tvr(const ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config)
    : store_(&store), mesh_(&mesh), config_(config) {
  if (!config.tvr.enabled) return;
  for (const Parameter& parameter : store.all()) targets_.push_back(target_of(config, parameter));
  matrices_ = table_of_matrices(store, shard);
  rescaled_ = table_of_rescaled(store, shard);
}

void Tvr::allocate(Arena& arena) {
  if (!config_.tvr.enabled) return;
  matrices_.allocate(arena);
  rescaled_.allocate(arena);
  for (Tensor* const tensor : {&elements_, &freedom_, &target_, &mean_, &squares_, &std_, &factor_}) {
    *tensor = arena.take({static_cast<std::int64_t>(targets_.size())}, DType::f64, "tables");
  }
  if (!elements_.present()) return;  // measuring
  std::vector<double> elements;
  std::vector<double> freedom;
  for (const Parameter& parameter : store_->all()) {
    elements.push_back(static_cast<double>(parameter.logical.elements()));
    freedom.push_back(std::max(1.0, elements.back() - 1.0));
  }
  upload(std::span<const double>(elements), elements_);
  upload(std::span<const double>(freedom), freedom_);
  upload(std::span<const double>(targets_), target_);
}

void Tvr::apply(const Weights& weights, const Tensor& scale) {
  ops::zero(mean_);
  ops::piece_sums(weights, matrices_.tensor(), Tensor(), 1, mean_);
  all_reduce_over(*mesh_, mean_);
  ops::divide(mean_, elements_, mean_);
  ops::zero(squares_);
  ops::piece_sums(weights, matrices_.tensor(), mean_, 2, squares_);
  all_reduce_over(*mesh_, squares_);
  ops::tvr_factors(squares_, freedom_, target_, config_.tvr.threshold, scale, std_, factor_);
  ops::rescale_pieces(rescaled_.tensor(), mean_, factor_, weights);
}

TvrReport Tvr::report() const {
  const std::vector<double> std = download<double>(std_);
  const std::vector<double> factor = download<double>(factor_);
  TvrReport report;
  for (std::size_t index = 0; index < targets_.size(); ++index) {
    if (targets_[index] == 0.0) continue;
    ++report.matrices;
    report.max_ratio = std::max(report.max_ratio, std[index] / targets_[index]);
    if (factor[index] != 1.0) ++report.rescaled;
    report.mean_std += std[index] * factor[index];
  }
  if (report.matrices > 0) report.mean_std /= static_cast<double>(report.matrices);
  return report;
}

}  // namespace headroom
