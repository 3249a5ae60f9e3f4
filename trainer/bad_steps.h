// Steps that are not made: loss or gradient norm not finite, or far above what they have been. Decided where the model
// is, before the optimizer changes anything, from sums that are the same on every rank; so every rank decides alike.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tensor/ops.h"

namespace headroom {

enum class BadStepAction : std::uint8_t { stop, rollback };

struct BadStepConfig {
  double spike = 0.0;         // standard deviations above the window's mean; 0: only numbers that are not finite
  std::int64_t window = 128;  // steps
  std::int64_t patience = 3;  // bad steps in a row before `then`
  BadStepAction then = BadStepAction::stop;
  std::int64_t rollbacks = 3;  // without a new checkpoint in between, before the run stops all the same
};

// Samples [first, first + count) of the training order.
struct SampleRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;

  bool operator==(const SampleRange&) const = default;
};

// What recent good steps were like, and which bad ones came since.
class StepHistory {
 public:
  explicit StepHistory(const BadStepConfig& config) : config_(config) {}

  // What the next step may reach: mean + spike * standard deviation of the window, of which at least half must be
  // there; a deviation counts as at least a thousandth of the mean. Without limits otherwise.
  StepLimits limits() const;

  // Why a step with these numbers, which was not made under `limits()`, was not.
  std::string reason(double loss, double norm) const;

  void good(double loss, double norm);
  // `samples`: of the step.
  void bad(std::int64_t step, SampleRange samples);

  // The bad steps since the last good one.
  struct BadStep {
    std::int64_t step = 0;
    SampleRange samples;
  };
  const std::vector<BadStep>& bad_in_a_row() const { return bad_; }
  bool patience_is_over() const { return static_cast<std::int64_t>(bad_.size()) >= config_.patience; }

  // For checkpoints: from_json(to_json(h)) decides as h does, to the last bit. Throws nlohmann's exceptions.
  nlohmann::ordered_json to_json() const;
  void from_json(const nlohmann::ordered_json& json);

 private:
  BadStepConfig config_;
  std::deque<double> losses_;  // of the last `window` good steps
  std::deque<double> norms_;
  std::vector<BadStep> bad_;
};

}  // namespace headroom
