// A Slurm of several nodes on this machine for the length of a test, and a campaign to run on it.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/launch/program.h"

namespace headroom::test {

// Why no cluster can be started here, as tests/slurm/cluster.sh says: packages are missing, or the user is not root.
// Empty where one can; throws where it should start and does not.
const std::string& why_no_slurm();

class Cluster {
 public:
  // Starts one with so many nodes and CPUs each; throws with cluster.sh's output when that fails.
  explicit Cluster(int nodes = 3, int cpus = 4);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // A command line with this cluster's Slurm.
  Outcome run(const std::string& command) const;
  void node_down(const std::string& node) const;

  // Polls until the condition holds; false after `seconds`, which only what never comes takes.
  static bool until(const std::function<bool()>& holds, int seconds = 120);

 private:
  Outcome script(const std::string& arguments) const;

  Scratch scratch_;
};

// A campaign of runs that train in a second, submitted to a cluster.
class SlurmCampaign {
 public:
  // `more`: further lines of the campaign file; `environment`: of the site's [environment].
  SlurmCampaign(const Workspace& here, const Cluster& cluster, const std::string& more,
                const std::string& environment = "", const std::string& launch = "");

  // `headroom campaign ACTION`, with --site where that belongs.
  Outcome operator()(const std::string& action, const std::string& options = "") const;

  nlohmann::json status() const;
  // Of the run's entry of status: "state", "restarts", ...
  nlohmann::json of(const std::string& run) const;
  std::string state(const std::string& run) const { return of(run)["state"]; }
  bool reaches(const std::string& run, const std::string& state, int seconds = 120) const;
  bool all_finished(int seconds = 120) const;
  // A run has recorded so many steps.
  bool trains(const std::string& run, int steps, int seconds = 60) const;

  // The scheduler's number of a run's job: "12_1".
  std::string job(const std::string& run) const { return of(run)["job"]; }

  std::filesystem::path directory() const { return *here_ / "campaigns/ablation"; }
  std::filesystem::path run_directory(const std::string& run) const { return directory() / "runs" / run; }
  std::string log(const std::string& run) const { return content_of(directory() / "logs" / (run + ".log")); }
  // The events that the run's jobs wrote down, in order: "started ended".
  std::string events(const std::string& run) const { return told(run, "event"); }
  // And where each of them was: "n1 n2".
  std::string nodes(const std::string& run) const { return told(run, "nodes"); }

 private:
  std::string told(const std::string& run, const char* key) const;

  const Workspace* here_;
  const Cluster* cluster_;
  std::string file_;
  std::string site_;
};

}  // namespace headroom::test
