// What a run would take on GPUs that are not at hand: memory by category, bytes exchanged, time a step. A dry run of
// the same code that lays out a real run's memory; the time is arithmetic over a data sheet's figures.
#pragma once

#include <string>
#include <vector>

#include "tensor/memory.h"
#include "trainer/config.h"
#include "trainer/hardware.h"

namespace headroom {

// Where a step's seconds go on one rank. Each is what the work needs at the stated share of the hardware's limit.
struct StepPrediction {
  double products = 0.0;   // matrix products and attention
  double passes = 0.0;     // norms, activations, rotary, cross-entropy: bytes through memory
  double optimizer = 0.0;  // AdamW and zeroing gradients
  double tensor_traffic = 0.0;
  double data_traffic = 0.0;  // all of it
  double data_exposed = 0.0;  // what the last micro-batch's backward does not hide
  double seconds() const { return products + passes + optimizer + tensor_traffic + data_exposed; }
};

// Shares of the data sheet's figures that the prediction assumes.
inline constexpr double kProductShare = 0.70;
inline constexpr double kMemoryShare = 0.80;
inline constexpr double kNetworkShare = 0.80;

struct TrainingPlan {
  RunConfig config;  // resolved for the layout
  Layout layout;
  GpuFigures gpu;
  std::int64_t parameters = 0;          // of the model
  std::vector<Arena::Category> memory;  // of the rank that needs most
  double memory_bytes = 0.0;            // their sum
  double reserved_bytes = 0.0;          // the driver's and the libraries' own, not ours to lay out
  double data_bytes = 0.0;              // sent by a rank in a step
  double tensor_bytes = 0.0;            //
  StepPrediction step;
  double tokens_per_second = 0.0;
  double mfu = 0.0;

  bool fits() const { return memory_bytes + reserved_bytes <= gpu.memory_bytes; }
};

// Plans `loaded` on `layout`'s ranks, one GPU each. Throws ExitCode::bad_config as training would, for sizes that do
// not divide.
TrainingPlan plan_training(const RunConfig& loaded, const Layout& layout, const GpuFigures& gpu);

}  // namespace headroom
