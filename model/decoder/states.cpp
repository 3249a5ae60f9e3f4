#include "model/decoder/states.h"

#include "tensor/ops.h"

namespace headroom::decoder {
namespace {

std::vector<std::int64_t> lengths_of(const States& from, std::span<const std::size_t> sequences) {
  std::vector<std::int64_t> lengths;
  for (const std::size_t sequence : sequences) lengths.push_back(from.length(sequence));
  return lengths;
}

}  // namespace

States::States(std::vector<std::int64_t> lengths, std::int64_t width) : lengths_(std::move(lengths)), width_(width) {
  starts_.push_back(0);
  for (const std::int64_t length : lengths_) starts_.push_back(starts_.back() + length);
  memory_ = Buffer(static_cast<std::size_t>(rows() * width_) * sizeof(float), Device::cpu, "hidden states");
}

States::States(const States& from, std::span<const std::size_t> sequences)
    : States(lengths_of(from, sequences), from.width()) {
  for (std::size_t i = 0; i < sequences.size(); ++i) ops::copy(from.of(sequences[i]), of(i));
}

}  // namespace headroom::decoder
