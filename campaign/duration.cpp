#include "campaign/duration.h"

#include <fmt/format.h>

#include <regex>

namespace headroom::campaign {

std::optional<std::int64_t> parse_duration(const std::string& text) {
  static const std::regex form(R"((?:(\d{1,3})-)?(\d{1,3}):(\d{2}):(\d{2}))");
  std::smatch parts;
  if (!std::regex_match(text, parts, form)) return {};
  const auto part = [&](std::size_t index) { return parts[index].matched ? std::stoll(parts[index]) : 0; };
  if (part(3) > 59 || part(4) > 59) return {};
  return ((part(1) * 24 + part(2)) * 60 + part(3)) * 60 + part(4);
}

std::optional<std::int64_t> parse_slurm_duration(const std::string& text) {
  static const std::regex minutes(R"((\d{1,3}):(\d{2}))");
  std::smatch parts;
  if (std::regex_match(text, parts, minutes)) return 60 * std::stoll(parts[1]) + std::stoll(parts[2]);
  return parse_duration(text);
}

std::string duration_text(std::int64_t seconds) {
  const std::int64_t day = 24 * 3600;
  const std::string days = seconds >= day ? fmt::format("{}-", seconds / day) : "";
  const std::int64_t rest = seconds % day;
  return fmt::format("{}{:02}:{:02}:{:02}", days, rest / 3600, rest / 60 % 60, rest % 60);
}

}  // namespace headroom::campaign
