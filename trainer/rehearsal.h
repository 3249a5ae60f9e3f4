// Faults on order, so that what a cluster, a config and this program do about them can be tried before they happen by
// themselves: HEADROOM_REHEARSE="nan step=7; delay step=3-9 rank=1 seconds=0.2".
//
//   nan     a gradient becomes NaN
//   spike   a gradient becomes large
//   delay   the rank is late by `seconds`
//   hang    the rank never comes
//   stop    the rank is asked to stop (SIGTERM)
//   kill    the rank is gone
//
// `step` is one or a range; `rank` is 0 unless given. Each happens once at each of its steps in a process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace headroom {

class Rehearsal {
 public:
  // `text` as above; null or empty: nothing. Throws ExitCode::usage naming the word that is wrong.
  Rehearsal(const char* text, int rank);

  // Between zeroed gradients and a step's first micro-batch.
  void play(std::int64_t step, const Tensor& gradients);

 private:
  struct Scene {
    std::string fault;
    std::int64_t first = 0;
    std::int64_t last = 0;
    int rank = 0;
    double seconds = 1.0;
    std::int64_t played = 0;  // the last step at which it happened
  };
  static Scene scene_of(const std::string& text);

  std::vector<Scene> scenes_;  // of this rank
};

}  // namespace headroom
