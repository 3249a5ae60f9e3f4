#include "campaign/names.h"

#include <algorithm>

namespace headroom::campaign {
namespace {

bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
         c == '.' || c == '+';
}

}  // namespace

bool is_plain_name(const std::string& name) {
  constexpr std::size_t kMost = 100;  // a run's name, extended for its files, must be a file's name
  return !name.empty() && name.size() <= kMost && is_plain(name.front()) &&
         std::string("-_.+").find(name.front()) == std::string::npos && std::all_of(name.begin(), name.end(), is_plain);
}

std::string name_part(const std::string& literal) {
  std::string part;
  for (const char c : literal) {
    if (c == '"') continue;
    part += is_plain(c) ? c : '_';
  }
  return part;
}

}  // namespace headroom::campaign
