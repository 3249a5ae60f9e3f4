// Token ids as text: one sequence a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace headroom {

// The sequences of a file: ids in decimal, separated by blanks, tabs or commas; lines without an id are passed over.
// Throws ExitCode::bad_data naming file and line for anything else, and for a file without ids.
std::vector<std::vector<std::int32_t>> read_id_lines(const std::filesystem::path& file);

}  // namespace headroom
