// What the preflight of a job has measured (trainer/preflight.h), before anybody judges it.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "parallel/clock_offsets.h"

namespace headroom {

// A figure that was not measured: nothing to compare, a step before it failed.
inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

struct RankFigures {
  std::size_t node = 0;           // index
  std::string program;            // "headroom 0.1.0 (commit ...)"
  std::string libraries;          // MPI and the numerical ones
  std::string gpu_software;       // driver, CUDA, NCCL ...; empty on a CPU
  std::string gpus;               // those it sees: "2 x NVIDIA H100 ..."; "none"
  int gpu_count = 0;              // of them
  std::string trouble;            // why it cannot compute; empty if it can
  double product = kNotMeasured;  // FLOP/s
};

struct NodeFigures {
  std::string name;             // the scheduler's
  std::vector<int> ranks;       // ascending; the first one measures for the node
  double inner = kNotMeasured;  // all-reduce among its ranks, bytes/s of bus bandwidth
  double write = kNotMeasured;  // the run directory, bytes/s
  double read = kNotMeasured;
  std::string disk_trouble;  // why it cannot be written or read; empty if it can
  bool disk_full = false;    // and that is space or a quota
  ClockOffset clock;         // against rank 0's node
};

// An exchange between two nodes, bytes/s of bus bandwidth.
struct PairFigures {
  std::size_t first = 0;
  std::size_t second = 0;
  double bandwidth = kNotMeasured;
};

struct PreflightFigures {
  std::vector<RankFigures> ranks;  // by rank
  std::vector<NodeFigures> nodes;  // in the order of their first ranks
  std::vector<PairFigures> pairs;  // neighbours of a ring of nodes
  double across = kNotMeasured;    // all-reduce over one rank a node, bytes/s of bus bandwidth
  std::string device;              // that products and exchanges were measured on: "cpu", "cuda"
  std::string transport;           // how tensors go between ranks, in words; empty for one rank
  std::int64_t exchange_bytes = 0;
  std::int64_t disk_bytes = 0;
  double seconds = 0.0;  // all of it

  // The slowest rank of a node, FLOP/s; kNotMeasured where none was measured.
  double slowest_product(std::size_t node) const;
};

}  // namespace headroom
