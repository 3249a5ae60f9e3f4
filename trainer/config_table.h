// The table of configuration keys: each key once, with the RunConfig member it is bound to. Parsing, range checks,
// documentation and writing are loops over it, so that they cannot disagree.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "trainer/config.h"

namespace headroom {

// A key's value as TOML sees it. Paths and choices are strings.
using ConfigValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

enum class ConfigKind : std::uint8_t { boolean, integer, real, text, path, choice, text_list };

// Allowed values of an integer (both ends included).
struct IntegerRange {
  std::int64_t low;
  std::int64_t high;
};

// Allowed values of a real number; an open end is not itself allowed.
struct RealRange {
  double low;
  double high;
  bool low_open = false;
  bool high_open = false;
};

struct ConfigKey {
  std::string name;  // "model.hidden_size": TOML table and key
  ConfigKind kind;
  std::string unit;  // may be empty
  std::string help;  // one line
  bool computes;     // whether it influences what is computed (fingerprint)
  std::function<ConfigValue(const RunConfig&)> get;
  std::function<void(RunConfig&, const ConfigValue&)> set;  // expects a checked value of the key's kind
  IntegerRange integers{};                                  // for ConfigKind::integer
  RealRange reals{};                                        // for ConfigKind::real
  std::vector<std::string> choices{};                       // for ConfigKind::choice

  // "model" for "model.hidden_size"; empty for top-level keys.
  std::string table() const;
  // "hidden_size" for "model.hidden_size".
  std::string leaf() const;
  // What a value must be: "an integer, at least 1", "one of rms, layer, dyt".
  std::string wanted() const;
};

// Every key, grouped by table; a table's keys stand together and top-level keys come first.
const std::vector<ConfigKey>& config_keys();

// The key of this name, or nullptr.
const ConfigKey* find_config_key(const std::string& name);

// The key that a misspelt or misplaced name, or what other trainers call it, most likely meant; empty if none is near.
std::string suggest_config_key(const std::string& name);

// Whether the value lies in the key's range or choices; kinds must match.
bool allowed(const ConfigKey& key, const ConfigValue& value);

// The value in TOML's notation; a real number in the shortest form that reads back as the same bits.
std::string to_toml_literal(const ConfigValue& value);

// The origin of a key that nobody set.
inline constexpr const char* kDefaultOrigin = "default";

// Checks that involve several keys. `origin` names the place a key was set at ("file:line:column", "--set", or
// kDefaultOrigin). Throws ExitCode::bad_config.
void check_across_keys(const RunConfig& config, const std::function<std::string(const std::string& key)>& origin);

}  // namespace headroom
