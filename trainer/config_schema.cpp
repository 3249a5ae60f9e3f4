// What the table of keys gives back: the resolved config as TOML, its fingerprint, its documentation.
#include "trainer/config_schema.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <string>

#include "base/hash.h"
#include "trainer/config_table.h"

namespace headroom {
namespace {

std::string assignment(const ConfigKey& key, const RunConfig& config) {
  return fmt::format("{} = {}", key.leaf(), to_toml_literal(key.get(config)));
}

// "tokens; context length"
std::string help_of(const ConfigKey& key) {
  return key.unit.empty() ? key.help : fmt::format("[{}] {}", key.unit, key.help);
}

}  // namespace

std::string to_toml(const RunConfig& config) {
  std::string text;
  std::string table;
  for (const ConfigKey& key : config_keys()) {
    if (key.table() != table) {
      table = key.table();
      text += fmt::format("\n[{}]\n", table);
    }
    text += fmt::format("{:<36} # {}\n", assignment(key, config), help_of(key));
  }
  return text;
}

void make_paths_absolute(RunConfig& config) {
  for (std::filesystem::path* path : {&config.data.corpus, &config.data.valid, &config.data.tokenizer}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal();
  }
  for (std::string& task : config.eval.tasks) task = std::filesystem::absolute(task).lexically_normal().string();
}

std::string fingerprint(const RunConfig& config) {
  std::string computing;
  for (const ConfigKey& key : config_keys()) {
    if (key.computes) computing += fmt::format("{} = {}\n", key.name, to_toml_literal(key.get(config)));
  }
  return hex_digits(XXH3_64bits(computing.data(), computing.size()));
}

std::vector<std::string> computing_differences(const RunConfig& before, const RunConfig& after) {
  std::vector<std::string> differences;
  for (const ConfigKey& key : config_keys()) {
    const std::string old_value = to_toml_literal(key.get(before));
    const std::string new_value = to_toml_literal(key.get(after));
    if (key.computes && old_value != new_value) {
      differences.push_back(fmt::format("{}: {} -> {}", key.name, old_value, new_value));
    }
  }
  return differences;
}

std::string describe_keys() {
  const RunConfig defaults;
  std::string text = "Configuration keys (TOML tables; --set key=value overrides):\n";
  std::string table = "-";
  for (const ConfigKey& key : config_keys()) {
    if (key.table() != table) {
      table = key.table();
      text += fmt::format("\n[{}]\n", table.empty() ? "top level" : table);
    }
    text += fmt::format("  {} = {}\n      {} ({})\n", key.name, to_toml_literal(key.get(defaults)), help_of(key),
                        key.wanted());
  }
  return text;
}

}  // namespace headroom
