#include "tests/slurm/cluster.h"

#include <chrono>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace headroom::test {
namespace {

const std::string kScript = "bash " HEADROOM_SOURCE_DIR "/tests/slurm/cluster.sh ";

// What ranks on nodes that share this machine's cores need, whoever the user is.
constexpr const char* kEnvironment = R"(
OMPI_ALLOW_RUN_AS_ROOT = "1"
OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1"
OMPI_MCA_hwloc_base_binding_policy = "none"
OMPI_MCA_rmaps_base_oversubscribe = "1"
OMPI_MCA_mpi_yield_when_idle = "1"
OMPI_MCA_btl_vader_single_copy_mechanism = "none"
)";

}  // namespace

const std::string& why_no_slurm() {
  static const std::string why = [] {
    constexpr int kRefused = 2;
    const Scratch scratch;
    const std::string directory = scratch.path().string();
    const Outcome started = shell(kScript + ("start " + directory) + " --nodes 1 --cpus 1");
    if (started.status == kRefused) return started.output;
    if (started.status != 0) throw std::runtime_error(started.output);
    shell(kScript + ("stop " + directory));
    return std::string();
  }();
  return why;
}

Cluster::Cluster(int nodes, int cpus) {
  const Outcome started = script("start " + scratch_.path().string() + " --nodes " + std::to_string(nodes) +
                                 " --cpus " + std::to_string(cpus));
  if (started.status != 0) throw std::runtime_error(started.output);
}

Cluster::~Cluster() {
  script("stop " + scratch_.path().string());
}

Outcome Cluster::script(const std::string& arguments) const {
  return shell(kScript + arguments);
}

Outcome Cluster::run(const std::string& command) const {
  return shell("export SLURM_CONF=" + (scratch_ / "slurm.conf").string() + "\n" + command);
}

void Cluster::node_down(const std::string& node) const {
  const Outcome down = script("node-down " + scratch_.path().string() + " " + node);
  if (down.status != 0) throw std::runtime_error(down.output);
}

bool Cluster::until(const std::function<bool()>& holds, int seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return true;
}

SlurmCampaign::SlurmCampaign(const Workspace& here, const Cluster& cluster, const std::string& more,
                             const std::string& environment, const std::string& launch)
    : here_(&here), cluster_(&cluster) {
  const std::string base = here.config("base");
  file_ = here.file("ablation.toml", "name = \"ablation\"\nbase = \"" + base + "\"\n" + more).string();
  site_ = here.file("site.toml", std::string("name = \"Test\"\nslurm.partition = \"debug\"\nnode.cores = 4\n"
                                             "launch.bind = false\npreflight.slow_ratio = 1000.0\n") +
                                     launch + "\n[environment]" + kEnvironment + environment + "\n")
              .string();
}

Outcome SlurmCampaign::operator()(const std::string& action, const std::string& options) const {
  const bool from_file = action == "run" || action == "plan";
  return cluster_->run(std::string(HEADROOM_BINARY) + " campaign " + action + " " + file_ + " --dir " +
                       (*here_ / "campaigns").string() + (from_file ? " --site " + site_ : "") + " " + options);
}

nlohmann::json SlurmCampaign::status() const {
  const Outcome answer = (*this)("status", "--json");
  if (answer.status != 0) throw std::runtime_error(answer.output);
  return nlohmann::json::parse(answer.output);
}

nlohmann::json SlurmCampaign::of(const std::string& run) const {
  const nlohmann::json all = status();
  for (const auto& one : all["runs"]) {
    if (one["run"] == run) return one;
  }
  throw std::runtime_error("no run " + run);
}

bool SlurmCampaign::reaches(const std::string& run, const std::string& wanted, int seconds) const {
  return Cluster::until([&] { return state(run) == wanted; }, seconds);
}

bool SlurmCampaign::all_finished(int seconds) const {
  return Cluster::until(
      [&] {
        const nlohmann::json all = status();
        for (const auto& run : all["runs"]) {
          if (run["state"] != "finished") return false;
        }
        return true;
      },
      seconds);
}

bool SlurmCampaign::trains(const std::string& run, int steps, int seconds) const {
  return Cluster::until([&] { return steps_in(run_directory(run)) >= steps; }, seconds);
}

std::string SlurmCampaign::told(const std::string& run, const char* key) const {
  std::istringstream lines(content_of(directory() / "journal" / (run + ".attempts.jsonl")));
  std::string words;
  for (std::string line; std::getline(lines, line);) {
    words += (words.empty() ? "" : " ") + nlohmann::json::parse(line)[key].get<std::string>();
  }
  return words;
}

}  // namespace headroom::test
