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

// What a program printed and how it ended.
struct Captured {
  int status;  // exit status; 128 + n when signal n ended it
  std::string output;
  std::string errors;
};

// Runs `arguments` like run_process, with both streams captured. Throws ExitCode::usage when it cannot be started.
Captured run_captured(const std::vector<std::string>& arguments);

// Starts `arguments` in a session of its own, so that it outlives this process and its terminal; output and errors are
// added to `log`. Returns its process id, which is to be waited for. Throws ExitCode::usage when it cannot be started.
int start_detached(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                   const std::filesystem::path& log);

// The exit status of what waitpid says; 128 + n when signal n ended it.
int exit_status_of(int wait_status);

// This program's own file.
std::filesystem::path own_executable();

}  // namespace headroom
