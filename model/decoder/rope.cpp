#include "model/decoder/rope.h"

#include <cmath>
#include <numbers>

namespace headroom::decoder {
namespace {

// LLaMA 3.1's rule: long waves are slowed down by `factor`, short ones stay, those between are mixed.
double llama3_angle(const Rope& rope, double angle) {
  const double wavelength = 2.0 * std::numbers::pi / angle;
  const double longest = rope.original_positions / rope.low_freq_factor;
  const double shortest = rope.original_positions / rope.high_freq_factor;
  if (wavelength > longest) return angle / rope.factor;
  if (wavelength < shortest) return angle;
  const double share =
      (rope.original_positions / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - share) * angle / rope.factor + share * angle;
}

}  // namespace

bool has_long_angles(const Rope& rope, std::int64_t length) {
  return rope.scaling == RopeScaling::longrope && static_cast<double>(length) > rope.original_positions;
}

std::vector<double> rope_angles(const Rope& rope, std::int64_t length) {
  const std::vector<double>& factors = has_long_angles(rope, length) ? rope.long_factors : rope.short_factors;
  std::vector<double> angles;
  for (std::int64_t pair = 0; pair < rope.dims / 2; ++pair) {
    const double angle = std::pow(rope.theta, -2.0 * static_cast<double>(pair) / static_cast<double>(rope.dims));
    angles.push_back(rope.scaling == RopeScaling::linear     ? angle / rope.factor
                     : rope.scaling == RopeScaling::llama3   ? llama3_angle(rope, angle)
                     : rope.scaling == RopeScaling::longrope ? angle / factors[static_cast<std::size_t>(pair)]
                                                             : angle);
  }
  return angles;
}

RopeTable make_rope_table(const Rope& rope, std::int64_t positions, std::int64_t length) {
  const std::vector<double> angles = rope_angles(rope, length);
  const auto pairs = static_cast<std::int64_t>(angles.size());
  const auto bytes = static_cast<std::size_t>(positions * pairs) * sizeof(float);
  RopeTable table{Buffer(2 * bytes, Device::cpu, "rotary angles"), {}, {}};
  table.cos = Tensor(table.memory.data(), {positions, pairs}, DType::f32);
  table.sin = Tensor(static_cast<char*>(table.memory.data()) + bytes, {positions, pairs}, DType::f32);
  float* cos = table.cos.data<float>();
  float* sin = table.sin.data<float>();
  for (std::int64_t position = 0; position < positions; ++position) {
    for (const double angle : angles) {
      *cos++ = static_cast<float>(rope.magnitude * std::cos(static_cast<double>(position) * angle));
      *sin++ = static_cast<float>(rope.magnitude * std::sin(static_cast<double>(position) * angle));
    }
  }
  return table;
}

}  // namespace headroom::decoder
