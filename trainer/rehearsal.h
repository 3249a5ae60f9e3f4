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
//
// For `headroom preflight`, on the node that `node` names as the scheduler does: HEADROOM_REHEARSE="slow-node node=n2
// ratio=10; skew node=n3 seconds=5".
//
//   slow-node    every speed measured there is divided by `ratio` (10)
//   broken-disk  the run directory cannot be written there
//   full-disk    the same, for want of space
//   skew         the clock is ahead by `seconds` (1)
//   stuck-node   the node's ranks never come
//
// One grammar: training passes over the preflight's scenes and the preflight over training's, so a job may order both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace headroom {

// A fault and when and where it is to happen; see above.
struct Scene {
  std::string fault;
  std::int64_t first = 0;  // step
  std::int64_t last = 0;
  int rank = 0;
  double seconds = 1.0;
  std::string node;
  double ratio = 10.0;
  std::int64_t played = 0;  // the last step at which it happened
};

// `text` as above; null or empty: nothing. Throws ExitCode::usage naming the word that is wrong.
std::vector<Scene> parse_rehearsal(const char* text);

class Rehearsal {
 public:
  // The scenes of training on this rank. Throws as parse_rehearsal does.
  Rehearsal(const char* text, int rank);

  // Between zeroed gradients and a step's first micro-batch.
  void play(std::int64_t step, const Tensor& gradients);

 private:
  std::vector<Scene> scenes_;  // of this rank
};

// What is ordered of the preflight on one node.
struct NodeRehearsal {
  double slow_ratio = 1.0;
  double skew_seconds = 0.0;
  int disk_error = 0;  // errno's, of writing
  bool stuck = false;
};

// Throws as parse_rehearsal does.
NodeRehearsal rehearse_node(const char* text, const std::string& node);

}  // namespace headroom
