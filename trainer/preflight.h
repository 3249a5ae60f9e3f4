// The preflight of a job: whether its nodes are fit, before hours are spent on them. Measures on every rank what
// training will need (the same software and devices, clocks, matrix products, exchanges inside and between nodes, the
// run directory), and leaves the judgement to trainer/preflight_verdict.h.
#pragma once

#include <filesystem>
#include <string>

#include "parallel/communicator.h"
#include "trainer/preflight_figures.h"
#include "trainer/rehearsal.h"

namespace headroom {

struct PreflightOptions {
  std::string device = "auto";            // as a config's: auto, cpu, cuda
  std::filesystem::path directory = ".";  // what runs are written to
  double slow_ratio = 3.0;                // measured again where a disk is slower than that
};

// Where every rank is and what it has; nothing is measured yet. Collective, the same on every rank. Throws
// ExitCode::usage when the directory exists on no node, or device = "cuda" and no rank's
// program has a GPU backend.
PreflightFigures survey(Communicator& world, const PreflightOptions& options, const std::string& node);

// Fills in all measures. Collective, the same on every rank. What a node fails at becomes its trouble; what fails
// between ranks throws ExitCode::communication. `ordered` is for this rank's node.
void measure(Communicator& world, const PreflightOptions& options, const NodeRehearsal& ordered,
             PreflightFigures& figures);

}  // namespace headroom
