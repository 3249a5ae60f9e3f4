// Everything a run is told. One struct a concern; the TOML keys, their types, ranges, defaults and help are bound to
// these members in one table (trainer/config_schema.cpp), which parses, validates, documents and writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "analysis/config.h"
#include "model/config.h"
#include "optim/config.h"
#include "parallel/mesh.h"
#include "tensor/dtype.h"
#include "trainer/bad_steps.h"
#include "trainer/stop_request.h"

namespace headroom {

struct RunConfig {
  std::string name = "run";  // the directory under `runs_dir`
  std::filesystem::path runs_dir = "runs";
  std::string variant;          // a label for reports, e.g. "TVR + DyT"
  std::string device = "auto";  // auto | cpu | cuda
  std::uint64_t seed = 1;

  ModelConfig model;
  OptimConfig optim;

  struct {
    std::filesystem::path corpus;     // corpus directory or token file
    std::filesystem::path valid;      // held-out token file, when corpus is a file
    std::filesystem::path tokenizer;  // overrides the corpus' own; its fingerprint must match
  } data;

  struct {
    std::int64_t steps = 100;
    std::int64_t global_batch = 8;  // sequences a step
    std::int64_t micro_batch = 0;   // sequences a rank at a time; global_batch / data ranks when 0
    DType dtype = DType::f32;
    Recompute recompute = Recompute::none;
    std::int64_t loss_chunk = 256;  // tokens whose logits exist at once
    double bucket_mb = 8.0;         // gradient buckets, MiB
  } train;

  struct {
    int data = 0;                                // 0: what is left of the ranks
    int tensor = 1;                              //
    int threads = 0;                             // a rank; 0: this host's cores / ranks on this host
    Transport transport = Transport::automatic;  // between GPUs
  } parallel;

  struct {
    std::int64_t every = 0;          // steps; 0 means only at the end
    std::int64_t windows = 64;       // held-out windows; 0 means all
    std::vector<std::string> tasks;  // multiple-choice tasks (docs/evaluation.md)
    std::int64_t tasks_every = 0;    // steps; 0 means only at the end
    std::int64_t tasks_limit = 0;    // items of each; 0 means all
  } eval;

  SnapshotConfig snapshot;
  MonitorConfig monitor;

  struct {
    std::int64_t every = 0;       // steps; 0 means only at the end
    std::int64_t keep = 2;        // newest kept
    std::int64_t keep_every = 0;  // steps whose multiples are kept for good; 0: none
  } checkpoint;

  BadStepConfig bad_steps;

  struct {
    StopSignal signal = StopSignal::usr1;  // asks to stop, like TERM and INT
    double timeout = 600.0;                // seconds a collective or file operation may take
    double straggler_ratio = 1.5;          // to the median; 0: never named
    std::int64_t straggler_window = 50;    // steps
  } faults;

  struct {
    bool tensorboard = true;
    std::string level = "info";  // trace, debug, info, warning, error
  } log;
};

}  // namespace headroom
