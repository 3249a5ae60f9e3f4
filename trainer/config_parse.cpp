// TOML to RunConfig: files with their includes, overrides, and errors that point at the place.
#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/suggest.h"
#include "trainer/config_schema.h"
#include "trainer/config_table.h"

namespace headroom {
namespace {

// `place` is "file:line:column" or "--set".
[[noreturn]] void fail(const std::string& place, const std::string& message, const std::string& hint = {}) {
  throw Error(ExitCode::bad_config, fmt::format("{}: {}", place, message), hint);
}

std::string place_of(const std::string& source, const toml::source_region& region) {
  return fmt::format("{}:{}:{}", source, region.begin.line, region.begin.column);
}

std::string found(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return fmt::format("the string {}", to_toml_literal(node.as_string()->get()));
    case toml::node_type::integer:
      return fmt::format("the integer {}", node.as_integer()->get());
    case toml::node_type::floating_point:
      return fmt::format("the number {}", to_toml_literal(node.as_floating_point()->get()));
    case toml::node_type::boolean:
      return node.as_boolean()->get() ? "true" : "false";
    default:
      return "a date or time";
  }
}

// The node as a value of the key's kind; nothing if its type is another.
std::optional<ConfigValue> value_of(const ConfigKey& key, const toml::node& node) {
  switch (key.kind) {
    case ConfigKind::boolean:
      if (const auto* boolean = node.as_boolean()) return boolean->get();
      return {};
    case ConfigKind::integer:
      if (const auto* integer = node.as_integer()) return integer->get();
      return {};
    case ConfigKind::real:
      if (const auto* real = node.as_floating_point()) return real->get();
      if (const auto* integer = node.as_integer()) return static_cast<double>(integer->get());
      return {};
    case ConfigKind::text:
    case ConfigKind::path:
    case ConfigKind::choice:
      if (const auto* text = node.as_string()) return text->get();
      return {};
    case ConfigKind::text_list: {
      const auto* array = node.as_array();
      if (array == nullptr) return {};
      std::vector<std::string> items;
      for (const toml::node& item : *array) {
        const auto* text = item.as_string();
        if (text == nullptr) return {};
        items.push_back(text->get());
      }
      return items;
    }
  }
  return {};
}

std::string type_hint(const ConfigKey& key, const toml::node& node) {
  if (key.kind == ConfigKind::integer && node.is_floating_point()) {
    const double number = node.as_floating_point()->get();
    if (std::fabs(number) < 1e15 && number == std::floor(number)) {
      return fmt::format("Write {:.0f}: with a point or an exponent TOML reads a floating-point number.", number);
    }
  }
  if (node.is_string()) {  // a right value in quotes
    const std::string& text = node.as_string()->get();
    try {
      const toml::table unquoted = toml::parse("value = " + text);
      const toml::node* value = unquoted.get("value");
      if (unquoted.size() == 1 && value_of(key, *value)) return fmt::format("Write {} without quotes.", text);
    } catch (const toml::parse_error&) {
      return {};  // no such thing: the message says all there is to say
    }
  }
  return {};
}

// Key and table names that exist, for suggestions.
std::vector<std::string> known_names(bool tables) {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) {
    const std::string name = tables ? key.table() : key.name;
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

bool is_table(const std::string& name) {
  const auto& keys = config_keys();
  return std::any_of(keys.begin(), keys.end(), [&](const ConfigKey& key) { return key.name.starts_with(name + "."); });
}

// What other trainers call our keys.
std::string foreign_name(const std::string& leaf) {
  static const std::map<std::string, std::string> names = {
      {"learning_rate", "optim.lr"},
      {"max_lr", "optim.lr"},
      {"batch_size", "train.global_batch"},
      {"max_steps", "train.steps"},
      {"max_iters", "train.steps"},
      {"d_model", "model.hidden_size"},
      {"n_embd", "model.hidden_size"},
      {"n_layer", "model.n_layers"},
      {"num_layers", "model.n_layers"},
      {"num_hidden_layers", "model.n_layers"},
      {"n_head", "model.n_heads"},
      {"num_attention_heads", "model.n_heads"},
      {"num_key_value_heads", "model.n_kv_heads"},
      {"intermediate_size", "model.ffn_size"},
      {"block_size", "model.seq_len"},
      {"context_length", "model.seq_len"},
      {"max_position_embeddings", "model.seq_len"},
      {"grad_clip", "optim.clip"},
      {"max_grad_norm", "optim.clip"},
  };
  const auto known = names.find(leaf);
  return known == names.end() ? "" : known->second;
}

[[noreturn]] void fail_unknown(const std::string& place, const std::string& name, bool table) {
  const std::string suggestion = table ? nearest_word(name, known_names(true)) : suggest_config_key(name);
  const std::string all = "`headroom train --help` lists every key.";
  fail(place, fmt::format("unknown {} '{}'", table ? "table" : "key", name),
       suggestion.empty() ? all : fmt::format("Did you mean '{}'? {}", suggestion, all));
}

class ConfigReader {
 public:
  void read_file(const std::filesystem::path& path, const std::string& included_from) {
    const std::string place = included_from.empty() ? path.string() : included_from;
    std::error_code error;  // of what cannot be looked at, opening says why
    const std::filesystem::path canonical = std::filesystem::weakly_canonical(path, error);
    if (std::find(open_files_.begin(), open_files_.end(), canonical) != open_files_.end()) {
      fail(place, fmt::format("'{}' includes itself", path.string()));
    }
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (std::filesystem::is_directory(status)) {
      fail(place, fmt::format("'{}' is a directory, not a file", path.string()));
    }
    // A device may never end. A pipe can be named on the command line, as a shell's <(...) does.
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) && !included_from.empty()) {
      fail(place, fmt::format("'{}' is no regular file", path.string()));
    }
    std::ifstream stream(path, std::ios::binary);
    std::ostringstream text;
    if (stream) text << stream.rdbuf();
    if (!stream) {
      const std::string reason = std::strerror(errno);
      if (included_from.empty()) fail(path.string(), "cannot read config file: " + reason, "Check the path.");
      fail(place, fmt::format("cannot read config file '{}': {}", path.string(), reason));
    }
    open_files_.push_back(canonical);
    read_text(text.str(), path.string());
    open_files_.pop_back();
  }

  void read_text(std::string_view text, const std::string& source) {
    toml::table document;
    try {
      document = toml::parse(text, source);
    } catch (const toml::parse_error& error) {
      fail(place_of(source, error.source()), std::string(error.description()), "The file is not valid TOML.");
    }
    if (const toml::node* include = document.get("include")) {
      const std::string place = place_of(source, include->source());
      const auto* file = include->as_string();
      if (file == nullptr) fail(place, fmt::format("include: found {}, wanted a file name", found(*include)));
      read_file(std::filesystem::path(source).parent_path() / file->get(), place);
      document.erase("include");
    }
    apply_table(document, "", [&](const toml::source_region& region) { return place_of(source, region); });
  }

  void override_key(const std::string& assignment) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail("--set", fmt::format("'{}' is not of the form key=value", assignment), "For example: --set optim.lr=1e-3");
    }
    const std::string name = trimmed(assignment.substr(0, equals));
    const std::string value = trimmed(assignment.substr(equals + 1));
    const auto place = [](const toml::source_region&) { return std::string("--set"); };
    const ConfigKey* key = find_config_key(name);
    toml::table document;
    try {
      document = toml::parse("value = " + value);
    } catch (const toml::parse_error&) {
      // A bare word is fine where a string is wanted, and for saying what is wrong elsewhere.
      document.clear();
    }
    const bool one_value = document.size() == 1;
    const bool wants_text = key != nullptr && (key->kind == ConfigKind::text || key->kind == ConfigKind::path ||
                                               key->kind == ConfigKind::choice);
    if (!one_value || (wants_text && !document.get("value")->is_string())) {
      try {
        document = toml::parse("value = " + to_toml_literal(value));
      } catch (const toml::parse_error& error) {  // not UTF-8
        fail("--set", fmt::format("{}: {}", name, std::string(error.description())));
      }
    }
    apply_node(*document.get("value"), name, place({}), place);
  }

  const RunConfig& config() const { return config_; }
  std::string origin(const std::string& key) const {
    const auto found_key = origins_.find(key);
    return found_key == origins_.end() ? kDefaultOrigin : found_key->second;
  }

 private:
  using Place = std::function<std::string(const toml::source_region&)>;

  static std::string trimmed(const std::string& text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string::npos) return "";
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
  }

  // In the order of the file, so that the first mistake is the one reported.
  void apply_table(const toml::table& table, const std::string& prefix, const Place& place) {
    std::vector<std::pair<const toml::key*, const toml::node*>> entries;
    for (const auto& [key, node] : table) entries.emplace_back(&key, &node);
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      const auto& left = a.first->source().begin;
      const auto& right = b.first->source().begin;
      return std::pair(left.line, left.column) < std::pair(right.line, right.column);
    });
    for (const auto& [key, node] : entries) {
      apply_node(*node, prefix + std::string(key->str()), place(key->source()), place);
    }
  }

  void apply_node(const toml::node& node, const std::string& name, const std::string& key_place, const Place& place) {
    if (const ConfigKey* key = find_config_key(name)) {
      apply_value(*key, node, place(node.source()));
    } else if (is_table(name)) {
      if (!node.is_table()) {
        fail(key_place, fmt::format("{}: found {}, but it is a table of keys", name, found(node)),
             fmt::format("Write [{}] on a line of its own and its keys below.", name));
      }
      apply_table(*node.as_table(), name + ".", place);
    } else {
      fail_unknown(key_place, name, node.is_table());
    }
  }

  void apply_value(const ConfigKey& key, const toml::node& node, const std::string& place) {
    const std::optional<ConfigValue> value = value_of(key, node);
    if (!value) {
      fail(place, fmt::format("{}: found {}, wanted {}", key.name, found(node), key.wanted()), type_hint(key, node));
    }
    if (!allowed(key, *value)) {
      const std::string nearest =
          key.kind == ConfigKind::choice ? nearest_word(std::get<std::string>(*value), key.choices) : "";
      fail(place, fmt::format("{}: {} is not allowed, wanted {}", key.name, to_toml_literal(*value), key.wanted()),
           nearest.empty() ? "" : fmt::format("Did you mean \"{}\"?", nearest));
    }
    key.set(config_, *value);
    origins_[key.name] = place;
  }

  RunConfig config_;
  std::map<std::string, std::string> origins_;
  std::vector<std::filesystem::path> open_files_;
};

RunConfig finish(ConfigReader& reader, const std::vector<std::string>& overrides) {
  for (const std::string& assignment : overrides) reader.override_key(assignment);
  check_across_keys(reader.config(), [&](const std::string& key) { return reader.origin(key); });
  RunConfig config = reader.config();
  // The default gives way to a shorter context here, so that the config as it is written can be read again.
  config.snapshot.calibration_tokens = std::min(config.snapshot.calibration_tokens, config.model.seq_len);
  return config;
}

}  // namespace

std::string suggest_config_key(const std::string& name) {
  const std::string leaf = name.substr(name.rfind('.') + 1);
  if (const std::string ours = foreign_name(leaf); !ours.empty()) return ours;
  for (const ConfigKey& key : config_keys()) {
    if (key.leaf() == leaf) return key.name;  // the right key in a wrong table
  }
  // Its table's keys first: there the whole slip is in the leaf, and a long table name must not hide it.
  std::vector<std::string> siblings;
  const std::string table = name.substr(0, name.size() - leaf.size());
  for (const ConfigKey& key : config_keys()) {
    if (key.name == table + key.leaf()) siblings.push_back(key.leaf());
  }
  const std::string sibling = nearest_word(leaf, siblings);
  if (!sibling.empty()) return table + sibling;
  const std::string whole = nearest_word(name, known_names(false));
  if (!whole.empty()) return whole;
  std::vector<std::string> leaves;
  for (const ConfigKey& key : config_keys()) leaves.push_back(key.leaf());
  const std::string nearest_leaf = nearest_word(leaf, leaves);
  for (const ConfigKey& key : config_keys()) {
    if (key.leaf() == nearest_leaf) return key.name;
  }
  return {};
}

RunConfig load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  ConfigReader reader;
  reader.read_file(file, "");
  return finish(reader, overrides);
}

RunConfig parse_config(std::string_view toml, const std::string& source, const std::vector<std::string>& overrides) {
  ConfigReader reader;
  reader.read_text(toml, source);
  return finish(reader, overrides);
}

}  // namespace headroom
