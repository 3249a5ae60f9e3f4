// Which nodes are fit to train on, from what was measured: a pure function, so that every case of it can be tried.
//
// A node is broken when it lacks what the others have (a GPU, the same versions, a directory that can be written). It
// is slow when a speed of it, times the ratio, is less than the median of the other nodes'; of an even number of others
// the slower of the two middle ones counts, so that one fast node makes no slow ones, and of two nodes the slower is
// held against the faster. Between nodes, it is slow when all its exchanges are slow against the median of those that
// it has no part in. Where all are slow alike nobody is found.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "trainer/preflight_figures.h"

namespace headroom {

struct PreflightLimits {
  double slow_ratio = 3.0;
  double max_skew = 2.0;       // seconds
  bool tolerate_slow = false;  // a slow node is said, and fit
};

enum class Fitness : std::uint8_t { fit, slow, broken };

constexpr std::string_view name_of(Fitness fitness) {
  switch (fitness) {
    case Fitness::fit:
      return "fit";
    case Fitness::slow:
      return "slow";
    case Fitness::broken:
      return "broken";
  }
  return "unknown";
}

// What is wrong with a node.
struct Finding {
  std::size_t node = 0;
  Fitness fitness = Fitness::broken;
  std::string measure;           // "matrix product", "versions"
  std::string text;              // the figure and what it was compared with
  double figure = kNotMeasured;  // of a slow node
  double compared = kNotMeasured;
};

struct PreflightVerdict {
  std::vector<Finding> findings;      // by node; empty: all are fit
  std::vector<std::string> warnings;  // what does not exclude a node
  std::string disk_trouble;           // set where it is not a node's fault: none of several can write, or it is full

  Fitness fitness(std::size_t node) const;
  std::vector<std::size_t> bad_nodes() const;  // ascending
};

PreflightVerdict judge(const PreflightFigures& figures, const PreflightLimits& limits);

// The nodes whose speed is slow against the others', as above. kNotMeasured is neither judged nor compared with; 0 is
// the slowest there is.
struct SlowNode {
  std::size_t node = 0;
  double median = 0.0;  // of the others
};
std::vector<SlowNode> slow_nodes(std::span<const double> speeds, double ratio);
std::vector<SlowNode> slow_nodes(std::span<const PairFigures> pairs, std::size_t nodes, double ratio);

}  // namespace headroom
