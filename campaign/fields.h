// The keys of a TOML file, each once: read, checked and documented from one list. For campaign files and site profiles;
// a run's config has a table of its own (trainer/config_table.h).
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace headroom::campaign {

struct Field {
  std::string name;    // "resources.nodes": table and key
  std::string wanted;  // what a value must be: "an integer, at least 1"
  std::string help;    // one line
  bool required = false;
  std::function<bool(const toml::node&)> set;  // takes the value; false if it is not what is wanted
};

// Fields bound to a variable, whose value before reading is the default.
Field text_field(std::string name, std::string& value, std::string help);
Field lines_field(std::string name, std::vector<std::string>& value, std::string help);
Field flag_field(std::string name, bool& value, std::string help);
Field count_field(std::string name, int& value, int low, std::string help);
Field number_field(std::string name, double& value, std::string help);
// One of several words.
Field choice_field(std::string name, std::string& value, std::vector<std::string> choices, std::string help);
// "HH:MM:SS" or "D-HH:MM:SS", as seconds.
Field duration_field(std::string name, std::int64_t& seconds, std::string help);
// A table of words: [environment] NAME = "value".
Field words_field(std::string name, std::vector<std::pair<std::string, std::string>>& value, std::string help);
// Whatever `set` makes of the node.
Field special_field(std::string name, std::string wanted, std::string help, std::function<bool(const toml::node&)> set);
Field required(Field field);

// A file's text as a table; `file` stands in messages. Throws ExitCode::bad_config naming file and place.
toml::table parse_toml(const std::string& text, const std::filesystem::path& file);

// Sets every field that the file has. Throws ExitCode::bad_config naming file, line and column for an unknown key (with
// the nearest known one), a value that is not what is wanted, and a required key that is missing.
void read_fields(const toml::table& table, const std::vector<Field>& fields, const std::filesystem::path& file);

// The list as `--help` shows it.
std::string describe_fields(const std::vector<Field>& fields);

// "file:line:column" of a node.
std::string place_of(const toml::node& node, const std::filesystem::path& file);
[[noreturn]] void refuse(const std::string& place, const std::string& message, const std::string& hint = {});

}  // namespace headroom::campaign
