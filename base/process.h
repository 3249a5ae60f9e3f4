// Running another program and waiting for it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace headroom {

// Runs `arguments` (the program looked up in PATH) with output and errors into `log`; returns its exit status, 128 + n
// when signal n ended it. `environment` adds "NAME=value" to ours. Throws ExitCode::usage when it cannot be started.
int run_process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                const std::filesystem::path& log);

// This program's own file.
std::filesystem::path own_executable();

}  // namespace headroom
