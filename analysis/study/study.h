// The study itself: one pass over a model's layers for each condition, with a BOS and without.
//
// The detection sequences say what every layer puts out, where it is massive, and in which layer first. There the
// evaluation sequences become one copy for each intervention, and all go on together; what their losses are in the end
// says whether the massive activations matter. So each layer's weights are needed once.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "analysis/study/bootstrap.h"
#include "analysis/study/intervention.h"
#include "analysis/study/layers.h"

namespace headroom::study {

// What a ratio of perplexities means.
enum class Severity : std::uint8_t { none, slight, medium, high };
const char* name_of(Severity severity);
// From which ratio on it is at least this; 0 for `none`.
double lower_bound(Severity severity);
Severity severity_of(double ratio);

// What an intervention did to the losses on one held-out text.
struct TextOutcome {
  std::int64_t tokens = 0;      // predicted
  std::int64_t not_finite = 0;  // sequences whose loss is no number: taken for infinite
  Interval perplexity;
  Interval ratio;  // to the unchanged model
  // Beyond ten times the reference: the model is destroyed, and the number says no more.
  bool destroyed() const;
};

struct Outcome {
  Kind kind = Kind::none;
  Change change;                   // over all evaluation sequences
  std::vector<TextOutcome> texts;  // of the held-out texts

  Interval ratio;  // over texts: the geometric mean of the ratios
  // The mean over the texts that are not destroyed; NaN where all are.
  double mean_perplexity() const;
  std::int64_t destroyed() const;  // texts
};

// How well setting to zero suppressed what was massive in the evaluation sequences.
struct Suppression {
  std::int64_t elements = 0;                // massive in the layer before
  std::int64_t left = 0;                    // and behind it: in channels that detection did not see
  std::vector<std::int64_t> leaked_layers;  // behind it, where a place that was set to zero is massive again
  std::vector<std::int64_t> other_layers;   // behind it, where other places are massive
};

struct Condition {
  bool bos = false;
  std::vector<Layer> layers;
  std::optional<Target> target;   // none: no layer has a massive element
  Writers writers;                // of the target layer's massive elements
  std::vector<Outcome> outcomes;  // the reference first; it alone where there is no target
  Suppression suppression;

  // The channels of all layers together.
  std::vector<std::int32_t> all_channels() const;
  // The layers whose averages pass both tests.
  std::vector<std::int64_t> massive_layers(const Options& options) const;
  // The layer with the largest mean max|h|.
  std::size_t peak_layer() const;
  // What setting to zero did; null where there was nothing to set, in the model or in the evaluation sequences.
  const Outcome* zeroed() const;
};

// `advanced` is told once a layer. Throws as the decoder does, and ExitCode::diverged naming layer or text and sequence
// where the unchanged model puts out numbers that are not finite.
Condition study(decoder::Decoder& model, const Sequences& sequences, const Options& options,
                const std::function<void()>& advanced);

}  // namespace headroom::study
