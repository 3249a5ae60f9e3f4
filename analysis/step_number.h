// The step of a metrics record. A JSON library bends whatever number stands there into the type it is asked for.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

namespace headroom {

// nullopt for anything but an integer that an int64 holds.
inline std::optional<std::int64_t> step_number(const nlohmann::json& value) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > kMost) return std::nullopt;
  return value.get<std::int64_t>();
}

}  // namespace headroom
