// Watches every step of training: the largest and the median |h| of each block's output, where the largest is, and
// their ratio. One pass over each block output, one collective a step.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "model/tap.h"
#include "parallel/mesh.h"
#include "tensor/memory.h"

namespace headroom {

// One step's figures, one entry a layer, alike on every rank.
struct MonitorRecord {
  std::vector<double> max;                          // NaN if any element was NaN
  std::vector<double> median;                       // from the histogram, see median_of in analysis/statistics.h
  std::vector<double> ratio;                        // max / median
  std::vector<std::array<std::int64_t, 3>> argmax;  // sample (within the step), position, channel; of equals the first
};

// A step: begin_step(); for every micro-batch begin_micro_batch(...) and a forward with this tap; collect().
// What it records does not depend on the layout or on how the step is cut into micro-batches.
class Monitor : public ActivationTap {
 public:
  // `layers` of the model, whose hidden states have `channels` and lie on `device`.
  Monitor(std::int64_t layers, std::int64_t channels, Device device);

  void begin_step();
  // The micro-batch whose forward follows: the global index, within the step, of its first sample, and its sequence
  // length.
  void begin_micro_batch(std::int64_t first_sample, std::int64_t seq);

  void hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row) override;
  void attention(std::int64_t layer, const AttentionView& view) override;
  Magnitudes magnitudes(Site site, std::int64_t layer, std::int64_t first_row) override;

  // Puts the step's summaries of all ranks together. Waits for the device. Collective over mesh.world().
  MonitorRecord collect(const Mesh& mesh) const;

 private:
  std::int64_t channels_;
  Buffer memory_;
  Tensor summaries_;  // i64 [layers, MagnitudeSummary::kWords]
  std::int64_t first_sample_ = 0;
  std::int64_t seq_ = 0;  // of all micro-batches of a step
};

}  // namespace headroom
