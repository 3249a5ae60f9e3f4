// The preflight's outcome for people and for scripts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "trainer/preflight_verdict.h"

namespace headroom {

// "85.2 GFLOP/s", "1.23 GB/s", "0.13 ms"; "-" for what was not measured.
std::string flops_text(double flops_per_second);
std::string rate_text(double bytes_per_second);
std::string seconds_text(double seconds);

// "0-3,6": ascending numbers.
std::string ranges_text(const std::vector<int>& numbers);

// Which ranks are on which node, one line: "n1: ranks 0-3; n2: ranks 4-7".
std::string places_text(const PreflightFigures& figures);

// A line a node, the figures between nodes, warnings, findings, and the verdict as the last line.
std::string preflight_text(const PreflightFigures& figures, const PreflightVerdict& verdict);

// The same as numbers (bytes/s, FLOP/s, seconds; null for what was not measured). docs/preflight.md names the keys.
nlohmann::ordered_json preflight_json(const PreflightFigures& figures, const PreflightVerdict& verdict,
                                      const PreflightLimits& limits);

// Names of nodes, one a line; empty if there are none.
std::string bad_nodes_text(const PreflightFigures& figures, const PreflightVerdict& verdict);

}  // namespace headroom
