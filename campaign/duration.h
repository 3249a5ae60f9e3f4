// Time limits as Slurm writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace headroom::campaign {

// Seconds of "HH:MM:SS" or "D-HH:MM:SS"; nothing for anything else.
std::optional<std::int64_t> parse_duration(const std::string& text);

// As Slurm prints limits, where "30:00" is half an hour; nothing for "infinite" and anything else.
std::optional<std::int64_t> parse_slurm_duration(const std::string& text);

// "HH:MM:SS", or "D-HH:MM:SS" from a day on.
std::string duration_text(std::int64_t seconds);

}  // namespace headroom::campaign
