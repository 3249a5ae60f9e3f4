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

// What an intervention did.
struct Outcome {
  Kind kind = Kind::none;
  std::int64_t changed = 0;  // activations, over all evaluation sequences
  std::int64_t tokens = 0;   // predicted
  Interval perplexity;
  Interval ratio;                           // to the unchanged model
  std::vector<std::int64_t> leaked_layers;  // behind the intervention, where massive elements are there again
  // Beyond ten times the reference: the model is destroyed, and the number says no more.
  bool destroyed() const;
};

enum class Severity : std::uint8_t { none, medium, high };
const char* name_of(Severity severity);

struct Condition {
  bool bos = false;
  std::vector<Layer> layers;
  std::optional<Target> target;   // none: no layer has a massive element
  std::vector<Outcome> outcomes;  // the reference first; it alone where there is no target

  // The channels of all layers together.
  std::vector<std::int32_t> all_channels() const;
  // Of setting to zero: high from a hundredfold perplexity on, medium from a twofold.
  Severity severity() const;
};

// `advanced` is told once a layer. Throws as the decoder does.
Condition study(decoder::Decoder& model, const Sequences& sequences, const Options& options,
                const std::function<void()>& advanced);

}  // namespace headroom::study
