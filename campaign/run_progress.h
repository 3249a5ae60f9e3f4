// How far a run is, from the end of its metrics: cheap enough to be asked of every run once a second.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace headroom::campaign {

// As of the last step that was recorded.
struct RunProgress {
  std::int64_t step = 0;
  double loss = 0.0;               // nats a token; NaN where it was not finite
  double tokens_per_second = 0.0;  // median of the last steps
  double step_seconds = 0.0;       // median of the last steps
  double ratio = 0.0;              // largest max|h| / median|h| of a layer; NaN where the monitor is off
};

// nullopt for a run without steps. Lines that are no steps, and a last one that is cut off, are passed over.
std::optional<RunProgress> read_progress(const std::filesystem::path& metrics);

}  // namespace headroom::campaign
