// What a cluster wants of its jobs: partition, account, modules, network interfaces. One file a cluster
// (configs/sites/), so that campaign files need not know where they run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "campaign/spec.h"

namespace headroom::campaign {

struct Site {
  std::filesystem::path file;
  std::string text;  // the file's
  std::string name;

  std::string partition, account, qos, constraint, reservation;
  bool exclusive = false;
  std::string gpu_option = "--gpus-per-node={}";  // {}: how many
  std::vector<std::string> options;               // further options of sbatch
  std::int64_t max_seconds = 0;                   // of a job; 0: not known

  int cores = 0;  // of a node
  int gpus = 0;
  int memory_gb = 0;  // of a node; 0: not asked for

  // The report's job, which needs one core and no GPU.
  struct {
    std::string partition;  // empty: as the runs'
    std::int64_t seconds = 0;
    int memory_gb = 0;
    std::vector<std::string> options;
  } report;

  std::string launcher = "auto";   // auto, srun or mpirun
  bool bind = true;                // ranks to their cores
  std::vector<std::string> setup;  // lines of the job's script before anything is started
  std::string container;           // words before the program: "apptainer exec --nv image.sif"
  std::vector<std::string> srun_options;
  std::vector<std::string> mpirun_options;
  std::vector<std::pair<std::string, std::string>> environment;
  double max_skew = 2.0;        // seconds between nodes' clocks (headroom preflight)
  double slow_ratio = 3.0;      // that make a node slow (headroom preflight)
  int preflight_seconds = 300;  // that it may take
};

// Throws ExitCode::bad_config naming file, line and key for a key that is unknown, missing or not allowed.
Site load_site(const std::filesystem::path& file);

// What a run gets where the campaign leaves it to the site: a node's cores shared out over its ranks, and of the memory
// of a shared node as large a part as of its cores.
Resources settled(Resources resources, const Site& site);

// Throws ExitCode::bad_config where the site cannot give what a run wants, naming both numbers.
void refuse_what_the_site_lacks(const Site& site, const Resources& resources);

// Every key, for `headroom campaign --help`.
std::string describe_site();

}  // namespace headroom::campaign
