#include "campaign/queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "base/error.h"
#include "base/process.h"
#include "campaign/duration.h"

namespace headroom::campaign {
namespace {

constexpr const char* kQueueFormat = "%i|%T|%r|%N|%k";

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Captured run_slurm(const std::vector<std::string>& arguments) {
  try {
    return run_captured(arguments);
  } catch (const Error& error) {
    throw Error(error.code(), error.what(), "Slurm's commands are not here: is this a login node of the cluster?");
  }
}

}  // namespace

const QueuedJob* find_job(const Queue& queue, const std::string& id) {
  const auto found = std::find_if(queue.begin(), queue.end(), [&](const QueuedJob& job) { return job.id == id; });
  return found == queue.end() ? nullptr : &*found;
}

std::string without_task(const std::string& job) {
  return job.substr(0, job.find('_'));
}

Queue parse_queue(const std::string& text) {
  Queue queue;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (std::size_t bar = 0; parts.size() < 4 && (bar = line.find('|', begin)) != std::string::npos; begin = bar + 1) {
      parts.push_back(line.substr(begin, bar - begin));
    }
    if (parts.size() != 4) continue;  // a site's own banner
    queue.push_back({parts[0], parts[1], parts[2], parts[3], trimmed(line.substr(begin))});
  }
  return queue;
}

Queue read_queue() {
  const Captured answer = run_slurm({"squeue", "--me", "--noheader", "--array", "--format", kQueueFormat});
  if (answer.status != 0) {
    throw Error(ExitCode::communication, fmt::format("squeue: {}", trimmed(answer.errors)),
                "Is the scheduler up (`scontrol ping`)? Nothing was changed.");
  }
  return parse_queue(answer.output);
}

std::string submit(const std::vector<std::string>& options, const std::string& script,
                   const std::vector<std::string>& arguments) {
  // A full queue makes sbatch try again and again.
  constexpr const char* kPatience = "60";  // seconds
  std::vector<std::string> command = {"timeout", kPatience, "sbatch", "--parsable"};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(script);
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Captured answer = run_slurm(command);
  // "123" or "123;cluster", behind whatever a site's filters print.
  static const std::regex number(R"((?:^|\n)(\d+)(?:;\S*)?\s*$)");
  std::smatch found;
  if (answer.status == 0 && std::regex_search(answer.output, found, number)) return found[1];
  constexpr int kTimedOut = 124;
  if (answer.status == kTimedOut) {
    throw Error(ExitCode::communication,
                fmt::format("sbatch did not finish in {} s: {}", kPatience, trimmed(answer.errors + answer.output)),
                "The queue may be full.");
  }
  throw Error(ExitCode::usage, fmt::format("sbatch refused {}: {}", script, trimmed(answer.errors + answer.output)),
              "Correct the site profile or the campaign's resources.");
}

void cancel(const std::vector<std::string>& jobs) {
  if (jobs.empty()) return;
  std::vector<std::string> command = {"scancel"};
  command.insert(command.end(), jobs.begin(), jobs.end());
  const Captured answer = run_slurm(command);
  if (answer.status != 0) throw Error(ExitCode::communication, fmt::format("scancel: {}", trimmed(answer.errors)));
}

void signal_scripts(const std::vector<std::string>& jobs) {
  if (jobs.empty()) return;
  std::vector<std::string> command = {"scancel", "--batch", "--signal=USR1"};
  command.insert(command.end(), jobs.begin(), jobs.end());
  const Captured answer = run_slurm(command);
  if (answer.status != 0) throw Error(ExitCode::communication, fmt::format("scancel: {}", trimmed(answer.errors)));
}

PartitionLimits limits_of(const std::string& partition) {
  const Captured answer = run_slurm({"sinfo", "--noheader", "--partition", partition, "--format", "%l|%D"});
  if (answer.status != 0) {
    throw Error(ExitCode::communication, fmt::format("sinfo: {}", trimmed(answer.errors)),
                "Is the scheduler up (`scontrol ping`)? Nothing was changed.");
  }
  PartitionLimits limits;
  static const std::regex kind_of_nodes(R"(([^|]*)\|(\d{1,6})\s*)");  // anything else is a site's own banner
  std::istringstream lines(answer.output);
  std::smatch parts;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_match(line, parts, kind_of_nodes)) continue;
    limits.seconds = parse_slurm_duration(parts[1]);
    limits.nodes += std::stoi(parts[2]);
  }
  return limits;
}

bool srun_has_pmix() {
  const Captured answer = run_slurm({"srun", "--mpi=list"});
  if (answer.status != 0) {
    throw Error(ExitCode::usage, fmt::format("srun --mpi=list: {}", trimmed(answer.errors + answer.output)),
                "Say launcher = \"srun\" or \"mpirun\" in the site profile, or submit where Slurm is set up.");
  }
  static const std::regex pmix(R"((^|\n)\s*pmix\s*(\n|$))");
  return std::regex_search(answer.output + answer.errors, pmix);
}

}  // namespace headroom::campaign
