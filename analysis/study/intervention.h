// What is done to a layer's massive activations to see whether they matter [reference: section 3.1 of the paper].
// At the massive positions of each sequence, in all massive channels of the layer.
#pragma once

#include <array>
#include <map>
#include <tuple>
#include <vector>

#include "analysis/study/elements.h"
#include "model/decoder/states.h"

namespace headroom::study {

enum class Kind : std::uint8_t {
  none,     // the reference
  zero,     // set to 0
  mean,     // massive elements set to the mean of such, by channel and sign, at position 0 and at later ones by itself
  clamp,    // cut to what is just not massive
  control,  // as many activations of the median's size set to 0 instead
};
inline constexpr std::array<Kind, 5> kKinds = {Kind::none, Kind::zero, Kind::mean, Kind::clamp, Kind::control};
const char* name_of(Kind kind);

// The layer intervened on: its massive channels over the calibration sequences, and their massive elements' means.
struct Target {
  std::int64_t layer = 0;
  std::vector<std::int32_t> channels;
  // (position 0?, channel, negative?) -> mean over massive elements only. No entry: no such element was seen.
  std::map<std::tuple<bool, std::int32_t, bool>, double> means;
};
Target make_target(std::int64_t layer, const std::vector<std::int32_t>& channels,
                   const std::vector<Element>& calibration);

struct Change {
  std::int64_t changed = 0;       // activations that were set; of clamp those that were cut
  std::int64_t without_mean = 0;  // massive elements of the target's channels of which calibration has seen none alike
};

// Changes a sequence's rows, which are the layer's output. `own` are all sequences' massive elements before that. The
// control's choice depends on (seed, sequence) alone.
Change intervene(Kind kind, const Target& target, const std::vector<Element>& own, std::int32_t sequence,
                 const Options& options, Tensor rows);

}  // namespace headroom::study
