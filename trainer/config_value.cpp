// What a key's value may be, and how it is written.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "trainer/config_table.h"

namespace headroom {
namespace {

std::string real_literal(double value) {
  char buffer[64];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  HEADROOM_CHECK(error == std::errc{}, "{} does not fit into {} characters", value, sizeof buffer);
  std::string text(buffer, end);
  // TOML tells a real number from an integer by its point or exponent.
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string text_literal(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string wanted_integer(const IntegerRange& range) {
  if (range.high == std::numeric_limits<std::int64_t>::max()) return fmt::format("an integer, at least {}", range.low);
  return fmt::format("an integer from {} to {}", range.low, range.high);
}

std::string wanted_real(const RealRange& range) {
  std::string text = fmt::format("a number, {} {}", range.low_open ? "greater than" : "at least", range.low);
  if (range.high < std::numeric_limits<double>::infinity()) {
    text += fmt::format(" and {} {}", range.high_open ? "less than" : "at most", range.high);
  }
  return text;
}

}  // namespace

std::string ConfigKey::table() const {
  const std::size_t dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

std::string ConfigKey::leaf() const {
  const std::size_t dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

std::string ConfigKey::wanted() const {
  switch (kind) {
    case ConfigKind::boolean:
      return "true or false";
    case ConfigKind::integer:
      return wanted_integer(integers);
    case ConfigKind::real:
      return wanted_real(reals);
    case ConfigKind::text:
      return "a string";
    case ConfigKind::path:
      return "a path";
    case ConfigKind::choice:
      return fmt::format("one of {}", fmt::join(choices, ", "));
    case ConfigKind::text_list:
      return "a list of strings";
  }
  HEADROOM_CHECK(false, "unknown kind of key {}", name);
}

const ConfigKey* find_config_key(const std::string& name) {
  const auto& keys = config_keys();
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

bool allowed(const ConfigKey& key, const ConfigValue& value) {
  if (key.kind == ConfigKind::integer) {
    const auto number = std::get<std::int64_t>(value);
    return number >= key.integers.low && number <= key.integers.high;
  }
  if (key.kind == ConfigKind::real) {
    // Written so that NaN is refused.
    const double number = std::get<double>(value);
    const bool above = key.reals.low_open ? number > key.reals.low : number >= key.reals.low;
    const bool below = key.reals.high_open ? number < key.reals.high : number <= key.reals.high;
    return above && below;
  }
  if (key.kind == ConfigKind::choice) {
    return std::find(key.choices.begin(), key.choices.end(), std::get<std::string>(value)) != key.choices.end();
  }
  return true;
}

std::string to_toml_literal(const ConfigValue& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&value)) return real_literal(*real);
  if (const auto* text = std::get_if<std::string>(&value)) return text_literal(*text);
  std::vector<std::string> items;
  for (const std::string& item : std::get<std::vector<std::string>>(value)) items.push_back(text_literal(item));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

}  // namespace headroom
