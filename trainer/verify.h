// Whether the layout changes anything but the clock: the same config trained at several layouts, and what the runs
// left behind compared.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "parallel/mesh.h"

namespace headroom {

// How far a run is from the first layout's. Differences are relative: of the loss to the loss; of a parameter tensor
// to its norm, the largest over tensors; of a statistic to the largest value of its kind, and of tokens, channels and
// counts the share that differs.
struct LayoutComparison {
  std::string layout;  // "2x1"
  double loss = 0.0;
  double parameters = 0.0;
  double snapshot = 0.0;
  std::string worst_parameter;
  std::string worst_statistic;
  bool same_data = true;   // every step's batch_crc
  bool same_bits = false;  // losses and parameters equal to the last bit
};

struct VerifyTolerance {
  double loss;
  double parameters;
  double snapshot;
};

// Limits for a run of 20 steps or so in float64, where rounding stays far below any mistake, and in float32, where
// Adam turns the rounding of gradients near zero into small differences of parameters.
VerifyTolerance tolerance_for(const std::string& dtype);

// Compares two finished run directories: metrics.jsonl, newest checkpoint, newest snapshot.
// Throws as the readers do.
LayoutComparison compare_runs(const std::filesystem::path& reference, const std::filesystem::path& run);

bool within(const LayoutComparison& comparison, const VerifyTolerance& tolerance);

// "2x1" -> {2, 1}. Throws ExitCode::usage for anything else.
Layout parse_layout(const std::string& text);

}  // namespace headroom
