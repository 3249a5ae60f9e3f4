// What the fault suite's random trials share: how many there are, and the numbers they draw. `tests/faults.sh` runs
// many; the ordinary suite a few.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace headroom::test {

// HEADROOM_FAULT_TRIALS, or as many as the ordinary suite has time for.
inline int trials(int otherwise) {
  const char* const text = std::getenv("HEADROOM_FAULT_TRIALS");
  return text == nullptr ? otherwise : std::atoi(text);
}

// Numbers of one trial: those of HEADROOM_FAULT_SEED (1 unless set) and the trial's number, so that a trial that failed
// can be run again by itself.
class Draw {
 public:
  explicit Draw(int trial) : engine_(seed() + static_cast<std::uint64_t>(trial) * 1'000'003) {}

  static std::uint64_t seed() {
    const char* const text = std::getenv("HEADROOM_FAULT_SEED");
    return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
  }

  // In [0, below).
  std::size_t index(std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(engine_); }
  double uniform() { return std::uniform_real_distribution<double>(0.0, 1.0)(engine_); }
  template <class Choices>
  const auto& from(const Choices& choices) {
    return choices[index(std::size(choices))];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace headroom::test
