#include "analysis/attention_probe.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace headroom {

template <class T>
HeadMasses head_masses(std::span<const T> probabilities, std::int64_t stride, std::int64_t tokens,
                       std::span<const T> bias) {
  HEADROOM_CHECK(tokens > 0 && tokens <= stride && static_cast<std::int64_t>(probabilities.size()) == stride * stride &&
                     (bias.empty() || static_cast<std::int64_t>(bias.size()) >= tokens),
                 "attention of {} tokens in {} probabilities of rows of {}, {} bias masses", tokens,
                 probabilities.size(), stride, bias.size());
  HeadMasses masses;
  masses.key_mass.assign(static_cast<std::size_t>(tokens), 0.0);
  const std::int64_t early = std::min(tokens, kSinkTokens);
  masses.sink_mass.assign(static_cast<std::size_t>(early), 0.0);
  for (std::int64_t query = 0; query < tokens; ++query) {
    for (std::int64_t key = 0; key <= query; ++key) {
      const auto mass = static_cast<double>(probabilities[static_cast<std::size_t>(query * stride + key)]);
      masses.key_mass[static_cast<std::size_t>(key)] += mass;
      if (query < early) masses.sink_mass[static_cast<std::size_t>(key)] += mass;
      if (query >= 1) (key == 0 ? masses.first : masses.rest) += mass;
    }
    if (bias.empty()) continue;
    const auto mass = static_cast<double>(bias[static_cast<std::size_t>(query)]);
    masses.bias_all += mass;
    if (query < early) masses.sink_bias += mass;
    if (query >= 1) masses.bias += mass;
  }
  for (std::int64_t key = 0; key < tokens; ++key) {
    masses.key_mass[static_cast<std::size_t>(key)] /= static_cast<double>(tokens - key);
  }
  for (std::int64_t key = 0; key < early; ++key) {
    masses.sink_mass[static_cast<std::size_t>(key)] /= static_cast<double>(early - key);
  }
  masses.bias_all /= static_cast<double>(tokens);
  masses.sink_bias /= static_cast<double>(early);
  const double choosers = tokens > 1 ? static_cast<double>(tokens - 1) : std::numeric_limits<double>::quiet_NaN();
  masses.first /= choosers;
  masses.bias /= choosers;
  masses.rest /= choosers;
  return masses;
}

template HeadMasses head_masses<float>(std::span<const float>, std::int64_t, std::int64_t, std::span<const float>);
template HeadMasses head_masses<double>(std::span<const double>, std::int64_t, std::int64_t, std::span<const double>);

}  // namespace headroom
