// The TOML face of RunConfig: parse, override, validate, document, write.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/config.h"

namespace headroom {

// Reads a config file, following `include = "base.toml"` (relative to the including file; its keys come first), then
// applies overrides "key=value" in order. Throws ExitCode::bad_config for an unknown key (with the nearest known
// key as suggestion), a wrong type, a value out of range or an unknown choice, naming file, line, column and key
// ("--set" for overrides).
RunConfig load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides);

// The same from text; `source` stands for the file name in messages.
RunConfig parse_config(std::string_view toml, const std::string& source, const std::vector<std::string>& overrides);

// Every key with its value, grouped in tables, each with its one-line help as a comment: what runs/NAME/config.toml
// holds. parse_config(to_toml(c)) == c.
std::string to_toml(const RunConfig& config);

// Paths of data and tasks are relative to where a command is started: makes them good for another that starts
// elsewhere.
void make_paths_absolute(RunConfig& config);

// 16 hex digits over every key that influences what is computed (not names, paths, intervals or logging).
std::string fingerprint(const RunConfig& config);

// The keys in which two configs differ and that influence what is computed, as "key: old -> new"; empty exactly when
// the fingerprints agree. For saying why a run cannot be resumed with another config.
std::vector<std::string> computing_differences(const RunConfig& before, const RunConfig& after);

// The documentation of every key: name, type, range or choices, default, help; for `headroom train --help` and docs.
std::string describe_keys();

}  // namespace headroom
