// The matrices of a model's blocks, by what they do: one of each kind a layer.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "analysis/snapshot_file.h"

namespace headroom::report {

// "layers.3.attention.q.weight" -> "attention.q"; empty for what is no matrix of a block.
std::string matrix_kind(const std::string& name);

// The kinds of a snapshot's matrices, in its order.
std::vector<std::string> matrix_kinds(const WeightStatistics& weights);

// Standard deviation of each layer's matrix of one kind.
std::map<std::int64_t, double> layer_stds(const WeightStatistics& weights, const std::string& kind);
// Its mean over the layers; unknown without such a matrix.
double mean_std(const WeightStatistics& weights, const std::string& kind);

}  // namespace headroom::report
