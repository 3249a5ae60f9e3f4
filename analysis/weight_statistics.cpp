#include "analysis/weight_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/ops.h"

namespace headroom {
namespace {

// Calls visit(range) for the contiguous ranges that make up the real numbers of this rank's shard, each once over all
// ranks: a replicated parameter counts on rank 0 alone.
template <class Visit>
void for_each_real_range(const Parameter& parameter, int tensor_rank, Visit visit) {
  const Tensor& value = parameter.value;
  switch (parameter.partition) {
    case Partition::replicated:
      if (tensor_rank == 0) visit(value.flat_range(0, value.elements()));
      return;
    case Partition::rows: {
      const std::int64_t per_row = value.elements() / parameter.local[0];
      if (parameter.real > 0) visit(value.flat_range(0, parameter.real * per_row));
      return;
    }
    case Partition::columns:
      if (parameter.real == 0) return;
      if (parameter.real == value.columns()) {
        visit(value.flat_range(0, value.elements()));
        return;
      }
      for (std::int64_t row = 0; row < value.rows(); ++row) {
        visit(value.flat_range(row * value.columns(), parameter.real));
      }
  }
}

}  // namespace

WeightStatistics weight_statistics(const ParameterStore& parameters, Communicator& tensor) {
  const std::vector<Parameter>& all = parameters.all();
  const int rank = tensor.rank();
  // Two passes, so that a mean far from 0 does not cancel the digits of the deviations.
  std::vector<double> means(all.size(), 0.0);
  for (std::size_t i = 0; i < all.size(); ++i) {
    for_each_real_range(all[i], rank, [&](const Tensor& range) { means[i] += ops::sum(range); });
  }
  tensor.all_reduce(std::span<double>(means), Reduction::sum);
  const Buffer memory(MagnitudeSummary::kWords * sizeof(std::int64_t), parameters.values().device(), "a summary");
  const Tensor words = memory.tensor({1, MagnitudeSummary::kWords}, DType::i64);
  std::vector<double> squares(all.size(), 0.0);
  std::vector<double> largest(all.size(), 0.0);
  for (std::size_t i = 0; i < all.size(); ++i) {
    means[i] /= static_cast<double>(all[i].logical.elements());
    for_each_real_range(all[i], rank, [&](const Tensor& range) {
      squares[i] += ops::sum_of_squares(range, means[i]);
      MagnitudeSummary summary;
      ops::zero(words);
      ops::summarize_magnitudes(range, Magnitudes{words, 0});
      ops::read_summaries(words, range.columns(), std::span<MagnitudeSummary>(&summary, 1));
      largest[i] = std::max(largest[i], summary.max_abs);
    });
  }
  tensor.all_reduce(std::span<double>(squares), Reduction::sum);
  tensor.all_reduce(std::span<double>(largest), Reduction::max);

  WeightStatistics out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto count = static_cast<double>(all[i].logical.elements());
    out.names.push_back(all[i].name);
    out.layer.push_back(static_cast<std::int32_t>(all[i].layer));
    out.mean.push_back(static_cast<float>(means[i]));
    out.std.push_back(static_cast<float>(count > 1 ? std::sqrt(squares[i] / (count - 1)) : 0.0));
    // A NaN does not survive a maximum over ranks, but it always reaches the mean.
    out.max_abs.push_back(std::isnan(means[i]) ? std::numeric_limits<float>::quiet_NaN()
                                               : static_cast<float>(largest[i]));
  }
  return out;
}

}  // namespace headroom
