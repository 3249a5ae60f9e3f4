#include "campaign/site.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "base/error.h"
#include "base/file.h"
#include "campaign/duration.h"
#include "campaign/fields.h"

namespace headroom::campaign {
namespace {

std::vector<Field> fields_of(Site& site) {
  return {
      required(text_field("name", site.name, "the cluster, in words")),
      required(text_field("slurm.partition", site.partition, "--partition of its jobs")),
      text_field("slurm.account", site.account, "--account"),
      text_field("slurm.qos", site.qos, "--qos"),
      text_field("slurm.constraint", site.constraint, "--constraint"),
      text_field("slurm.reservation", site.reservation, "--reservation"),
      flag_field("slurm.exclusive", site.exclusive, "whether jobs have their nodes to themselves (false)"),
      text_field("slurm.gpu_option", site.gpu_option, "how GPUs are asked for; {} is their number on a node"),
      lines_field("slurm.options", site.options, "further options of sbatch, each as \"--option=value\""),
      duration_field("slurm.max_time", site.max_seconds, "the longest job that the partition takes"),
      required(count_field("node.cores", site.cores, 1, "cores of a node")),
      count_field("node.gpus", site.gpus, 0, "GPUs of a node (0)"),
      count_field("node.memory_gb", site.memory_gb, 0,
                  "memory of a node, GB, of which jobs ask for their share; 0: they do not ask (0)"),
      choice_field("launch.launcher", site.launcher, {"auto", "srun", "mpirun"},
                   "what starts the ranks; auto: srun if it has PMIx, else mpirun (auto)"),
      flag_field("launch.bind", site.bind, "whether ranks are bound to cores of their own (true)"),
      lines_field("launch.setup", site.setup, "lines of the script before anything is started: modules"),
      text_field("launch.container", site.container, "words before the program: \"apptainer exec --nv image.sif\""),
      lines_field("launch.srun_options", site.srun_options, "further options of srun"),
      lines_field("launch.mpirun_options", site.mpirun_options, "further options of mpirun"),
      words_field("environment", site.environment, "variables of all ranks: NCCL_SOCKET_IFNAME = \"ib0\""),
      number_field("preflight.max_skew", site.max_skew, "seconds that clocks may differ before it is said (2)"),
      number_field("preflight.slow_ratio", site.slow_ratio, "times slower than the others that make a node slow (3)"),
      count_field("preflight.timeout", site.preflight_seconds, 1, "seconds that it may take (300)"),
      text_field("report.partition", site.report.partition, "--partition of the report's job (as the runs')"),
      duration_field("report.time", site.report.seconds, "--time of it (01:00:00, or as a run's where that is less)"),
      count_field("report.memory_gb", site.report.memory_gb, 0, "--mem of it, GB; 0: does not ask (0)"),
      lines_field("report.options", site.report.options, "further options of sbatch for it"),
  };
}

}  // namespace

Site load_site(const std::filesystem::path& file) {
  Site site;
  site.file = file;
  try {
    site.text = read_file(file);
  } catch (const Error& error) {
    throw Error(ExitCode::bad_config, error.what(), "Name a site profile; configs/sites/ has examples.");
  }
  read_fields(parse_toml(site.text, file), fields_of(site), file);
  for (const auto& [key, options] :
       {std::pair{"slurm.options", site.options}, {"report.options", site.report.options}}) {
    for (const std::string& option : options) {
      if (option.starts_with("--")) continue;
      refuse(file.string(), fmt::format("{}: '{}' is no option", key, option), "Write \"--option=value\".");
    }
  }
  if (!site.gpu_option.starts_with("--") || site.gpu_option.find("{}") == std::string::npos) {
    refuse(file.string(), fmt::format("slurm.gpu_option = \"{}\" does not say how many", site.gpu_option),
           "Write {} where their number on a node belongs: \"--gres=gpu:{}\".");
  }
  for (const auto& [name, value] : site.environment) {
    static const std::regex variable("[A-Za-z_][A-Za-z0-9_]*");
    if (!std::regex_match(name, variable)) {
      refuse(file.string(), fmt::format("environment: '{}' cannot be a variable's name", name));
    }
  }
  return site;
}

Resources settled(Resources resources, const Site& site) {
  if (resources.threads == 0) resources.threads = std::max(1, site.cores / resources.ranks_per_node);
  if (resources.memory_gb == 0 && !site.exclusive && site.memory_gb > 0) {
    const int cores = std::min(site.cores, resources.ranks_per_node * resources.threads);
    resources.memory_gb = std::max(1, site.memory_gb * cores / site.cores);
  }
  return resources;
}

void refuse_what_the_site_lacks(const Site& site, const Resources& resources) {
  const auto lacks = [&](const std::string& what, const std::string& hint) {
    throw Error(ExitCode::bad_config, fmt::format("{}: {}", site.file.string(), what), hint);
  };
  if (resources.gpus_per_node > site.gpus) {
    lacks(site.gpus == 0
              ? fmt::format("runs want {} GPUs of a node, and the profile has no node.gpus", resources.gpus_per_node)
              : fmt::format("runs want {} GPUs of a node, which has {}", resources.gpus_per_node, site.gpus),
          "Correct node.gpus of the profile or resources.gpus_per_node of the campaign.");
  }
  const int cores = resources.ranks_per_node * resources.threads;
  if (cores > site.cores) {
    lacks(fmt::format("{} ranks of {} threads want {} cores of a node, which has {}", resources.ranks_per_node,
                      resources.threads, cores, site.cores),
          "Lower resources.ranks_per_node or resources.threads of the campaign.");
  }
  if (site.max_seconds > 0 && resources.seconds > site.max_seconds) {
    lacks(fmt::format("a job of {} is longer than its partition takes, {}", duration_text(resources.seconds),
                      duration_text(site.max_seconds)),
          "Lower resources.time: a run that needs longer is requeued until it is done.");
  }
  if (site.memory_gb > 0 && resources.memory_gb > site.memory_gb) {
    lacks(fmt::format("runs want {} GB of a node, which has {}", resources.memory_gb, site.memory_gb), "");
  }
}

std::string describe_site() {
  Site site;
  return describe_fields(fields_of(site));
}

}  // namespace headroom::campaign
