// What a run watches and when.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace headroom {

struct SnapshotConfig {
  std::int64_t every = 0;  // steps between snapshots; 0 means only the last step
  std::vector<std::string> sentences = {"Summer is warm. Winter is cold."};  // probe sentences: raw states kept
  std::int64_t calibration_sequences = 10;                                   // held-out windows, statistics only
  std::int64_t calibration_tokens = 128;                                     // tokens of each (at most model.seq_len)
  std::int64_t top_k = 10;
};

struct MonitorConfig {
  bool enabled = true;
};

}  // namespace headroom
