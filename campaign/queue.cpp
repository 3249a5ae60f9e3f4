#include "campaign/queue.h"

#include <fmt/format.h>
#include <unistd.h>

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

constexpr const char* kPatience = "60";  // seconds; a full queue makes sbatch try again and again
constexpr int kTimedOut = 124;
constexpr int kNotFound = 127;

// Without the variables that change what the commands show and do behind their options.
Captured run_slurm(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"env"};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string name = std::string(*variable).substr(0, std::string(*variable).find('='));
    for (const char* prefix : {"SQUEUE_", "SINFO_", "SCANCEL_"}) {
      if (name.starts_with(prefix)) command.push_back("--unset=" + name);
    }
  }
  command.insert(command.end(), {"timeout", kPatience});
  command.insert(command.end(), arguments.begin(), arguments.end());
  Captured answer = run_captured(command);
  if (answer.status == kNotFound) {
    throw Error(ExitCode::usage, fmt::format("there is no {} here", arguments.front()),
                "Slurm's commands are not here: is this a login node of the cluster?");
  }
  if (answer.status == kTimedOut) answer.errors += fmt::format("did not finish in {} s", kPatience);
  return answer;
}

// Jobs that ended meanwhile are none to complain of.
void scancel(std::vector<std::string> options, const std::vector<std::string>& jobs) {
  if (jobs.empty()) return;
  options.insert(options.begin(), "scancel");
  options.insert(options.end(), jobs.begin(), jobs.end());
  const Captured answer = run_slurm(options);
  if (answer.status == 0) return;
  static const std::regex gone("invalid job id|already complet", std::regex::icase);
  std::istringstream lines(answer.errors);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || std::regex_search(line, gone)) continue;
    throw Error(ExitCode::communication, fmt::format("scancel: {}", trimmed(answer.errors)),
                "Is the scheduler up (`scontrol ping`)? Call it again then.");
  }
}

}  // namespace

const QueuedJob* find_job(const Queue& queue, const std::string& id, const std::string& submission) {
  static const std::regex ours(R"(.+/.+#\d+@[0-9a-f]{8})");
  const auto found = std::find_if(queue.begin(), queue.end(), [&](const QueuedJob& job) {
    const bool of_another = job.comment != submission && std::regex_match(job.comment, ours);
    return job.id == id && !of_another;
  });
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

Queue read_queue(unsigned user) {
  const Captured answer =
      run_slurm({"squeue", fmt::format("--user={}", user), "--all", "--noheader", "--array", "--format", kQueueFormat});
  if (answer.status != 0) {
    throw Error(ExitCode::communication, fmt::format("squeue: {}", trimmed(answer.errors)),
                "Is the scheduler up (`scontrol ping`)? Nothing was changed.");
  }
  return parse_queue(answer.output);
}

std::string submit(const std::vector<std::string>& options, const std::string& script,
                   const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"sbatch", "--parsable"};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(script);
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Captured answer = run_slurm(command);
  // "123" or "123;cluster", behind whatever a site's filters print.
  static const std::regex number(R"((?:^|\n)(\d+)(?:;\S*)?\s*$)");
  std::smatch found;
  if (answer.status == 0 && std::regex_search(answer.output, found, number)) return found[1];
  const std::string words = trimmed(answer.errors + answer.output);
  static const std::regex not_heard("timed out|did not finish|unable to contact|zero bytes|connect|communicat",
                                    std::regex::icase);
  if (std::regex_search(words, not_heard)) {
    throw Error(ExitCode::communication, fmt::format("sbatch could not hand over {}: {}", script, words),
                "The queue may be full, or the scheduler away.");
  }
  throw Error(ExitCode::usage, fmt::format("sbatch refused {}: {}", script, words),
              "Correct the site profile or the campaign's resources.");
}

void cancel_waiting(const std::vector<std::string>& jobs) {
  scancel({"--state=PENDING"}, jobs);
}

void cancel(const std::vector<std::string>& jobs) {
  scancel({}, jobs);
}

void signal_scripts(const std::vector<std::string>& jobs) {
  scancel({"--batch", "--signal=USR1"}, jobs);
}

PartitionLimits limits_of(const std::string& partition) {
  const Captured answer = run_slurm({"sinfo", "--noheader", "--partition", partition, "--format", "%l|%D"});
  if (answer.status != 0) {
    throw Error(ExitCode::communication, fmt::format("sinfo: {}", trimmed(answer.errors)),
                "Is the scheduler up (`scontrol ping`)? Nothing was changed.");
  }
  PartitionLimits limits;
  bool unlimited = false;
  static const std::regex kind_of_nodes(R"(([^|]*)\|(\d{1,6})\s*)");  // anything else is a site's own banner
  std::istringstream lines(answer.output);
  std::smatch parts;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_match(line, parts, kind_of_nodes)) continue;
    const auto seconds = parse_slurm_duration(parts[1]);
    unlimited = unlimited || !seconds;
    limits.seconds = std::max(limits.seconds, seconds);
    limits.nodes = std::max(limits.nodes, std::stoi(parts[2]));
  }
  if (unlimited) limits.seconds.reset();
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
