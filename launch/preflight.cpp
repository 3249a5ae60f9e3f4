// headroom preflight: whether the nodes of a job are fit, before hours are spent on them.
#include <fmt/core.h>

#include <cstdio>
#include <filesystem>

#include "base/append_file.h"
#include "base/file.h"
#include "base/stopwatch.h"
#include "launch/mpi_verb.h"
#include "launch/verbs.h"
#include "parallel/agreement.h"
#include "parallel/launcher.h"
#include "parallel/process_watch.h"
#include "trainer/preflight.h"
#include "trainer/preflight_text.h"

namespace headroom {
namespace {

// What is wrong with the nodes, for the message that ends the job.
Error unfit(const PreflightFigures& figures, const PreflightVerdict& verdict) {
  std::string text;
  for (const Finding& finding : verdict.findings) {
    text += fmt::format("{}{} is {}: {}: {}", text.empty() ? "" : "\n  ", figures.nodes[finding.node].name,
                        name_of(finding.fitness), finding.measure, finding.text);
  }
  std::string names;
  for (const std::size_t node : verdict.bad_nodes()) {
    names += fmt::format("{}{}", names.empty() ? "" : ",", figures.nodes[node].name);
  }
  return {ExitCode::requeue, text,
          fmt::format("Start elsewhere: `--exclude={}` with sbatch or srun, or without these hosts in mpirun's list; "
                      "then have a look at them.",
                      names)};
}

class PreflightVerb : public Verb {
 public:
  PreflightVerb() : Verb("preflight", "Whether the nodes of a job are fit to train on") {}

  void declare(CLI::App& app) override {
    app.add_option("--directory", options_.directory, "Where runs will be written; every node writes and reads there")
        ->type_name("DIR")
        ->capture_default_str();
    app.add_option("--device", options_.device, "Where training will compute; auto: on GPUs if there are any")
        ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
        ->capture_default_str();
    app.add_option("--slow-ratio", options_.slow_ratio, "A node this many times slower than the others is slow")
        ->check(CLI::Range(1.0, 1e12))
        ->capture_default_str();
    app.add_flag("--tolerate-slow", tolerate_slow_, "Say which nodes are slow, but take them for fit");
    app.add_option("--max-skew", max_skew_, "Seconds that a node's clock may differ from rank 0's without a warning")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--timeout", timeout_, "Seconds after which the preflight is given up, saying what hangs")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--record", record_, "Write all figures here, as JSON")->type_name("FILE");
    app.add_option("--bad-nodes", bad_nodes_, "Write the names of slow and broken nodes here, one a line")
        ->type_name("FILE");
    app.footer(
        "Run it on all ranks of a job, before training: srun headroom preflight --directory runs, or\n"
        "mpirun -n N headroom preflight --directory runs. Compares versions and devices of all ranks, clocks, matrix\n"
        "products, all-reduces inside and between nodes, and the run directory's speed, in a few seconds.\n\n"
        "Exit codes: 0 all nodes are fit; 75 a node is slow or broken: start elsewhere; 9 no node can write the\n"
        "directory, or it is full; 7 ranks lost each other, or the time is over; 2 ranks were not started as one job. "
        "docs/preflight.md has the details.");
  }

  ExitCode run() override {
    return run_on_all_ranks([&](ParallelRuntime& runtime) { return on_ranks(runtime); });
  }

 private:
  ExitCode on_ranks(ParallelRuntime& runtime) {
    const Stopwatch watch;
    const std::string node = node_name(process_environment);
    const NodeRehearsal ordered = rehearse_node(process_environment("HEADROOM_REHEARSE"), node);
    const ProcessWatch process_watch({.limit_seconds = timeout_,
                                      .who = fmt::format("rank {} of {} on {}", runtime.rank(), runtime.size(), node),
                                      .whole = "the preflight",
                                      .hangs_here = [this, node] { name_bad_node(node); }});
    const auto world = runtime.world();
    forget_bad_nodes(*world);
    PreflightFigures figures = survey(*world, options_, node);
    // First of all who is where: a message about a rank that hangs has only its number.
    say(*world, fmt::format("preflight: {}\n", places_text(figures)));
    measure(*world, options_, ordered, figures);
    figures.seconds = watch.seconds();
    const PreflightLimits limits{options_.slow_ratio, max_skew_, tolerate_slow_};
    const PreflightVerdict verdict = judge(figures, limits);
    say(*world, preflight_text(figures, verdict));
    write_files(*world, figures, verdict, limits);
    if (!verdict.disk_trouble.empty()) {
      throw Error(ExitCode::disk_full, "no node can use the run directory: " + verdict.disk_trouble,
                  "It is the file system and not the nodes: mend it, or choose another --directory.");
    }
    if (!verdict.findings.empty()) throw unfit(figures, verdict);
    return ExitCode::done;
  }

  static void say(Communicator& world, const std::string& text) {
    if (world.rank() != 0) return;
    fmt::print("{}", text);
    std::fflush(stdout);
  }

  // From a process that hangs: the others cannot know where.
  void name_bad_node(const std::string& node) const {
    if (bad_nodes_.empty()) return;
    try {
      AppendFile(bad_nodes_).append(node + "\n");
    } catch (const Error& error) {
      fmt::print(stderr, "{}\n", error.what());
    }
  }

  // What an earlier preflight found must not exclude nodes when this one does not get as far.
  void forget_bad_nodes(Communicator& world) const {
    on_root(world, [&] {
      std::error_code error;
      if (!bad_nodes_.empty()) std::filesystem::remove(bad_nodes_, error);
      return std::string();
    });
  }

  void write_files(Communicator& world, const PreflightFigures& figures, const PreflightVerdict& verdict,
                   const PreflightLimits& limits) const {
    on_root(world, [&] {
      if (!bad_nodes_.empty()) write_file_atomically(bad_nodes_, bad_nodes_text(figures, verdict));
      if (!record_.empty()) write_file_atomically(record_, preflight_json(figures, verdict, limits).dump(2) + "\n");
      return std::string();
    });
  }

  PreflightOptions options_;
  bool tolerate_slow_ = false;
  double max_skew_ = 2.0;
  double timeout_ = 120.0;
  std::filesystem::path record_;
  std::filesystem::path bad_nodes_;
};

}  // namespace

std::unique_ptr<Verb> make_preflight_verb() {
  return std::make_unique<PreflightVerb>();
}

}  // namespace headroom
