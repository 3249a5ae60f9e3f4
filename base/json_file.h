// JSON that others wrote, read so that no file can bring the program down: large and deeply nested ones are refused
// before anything is built of them.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace headroom {

// Reads and parses. Throws ExitCode::bad_data for a file that is missing, and `refusal` naming the file: larger than
// 256 MiB, nested deeper than 64 brackets, no JSON (with the byte where it stops being JSON).
nlohmann::json read_json(const std::filesystem::path& file, ExitCode refusal = ExitCode::bad_data);

// The same of a text; `where` names it.
nlohmann::json parse_json(std::string_view text, const std::string& where, ExitCode refusal);

// A value for an error message: its JSON, cut off where it is long. The value is no deeper than the above allow.
std::string excerpt(const nlohmann::json& value);

}  // namespace headroom
