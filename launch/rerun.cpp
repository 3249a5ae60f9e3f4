// headroom rerun: a step of a past run once more, looked at closely.
#include <fmt/core.h>

#include <string>

#include "launch/mpi_verb.h"
#include "launch/verbs.h"
#include "trainer/trainer.h"

namespace headroom {
namespace {

class RerunVerb : public Verb {
 public:
  RerunVerb() : Verb("rerun", "Re-execute one step of a run and look at it closely") {}

  void declare(CLI::App& app) override {
    app.add_option("run", run_, "The run's directory")->required()->type_name("RUN");
    app.add_option("--step", options_.step, "Which step")->required()->type_name("S");
    app.add_option("--raw-samples", options_.raw_samples,
                   "Of how many of the step's sequences all hidden states are kept; of all others statistics are")
        ->check(CLI::Range(0, 1 << 20))
        ->capture_default_str();
    app.add_option("--set", options_.overrides, "Override a key of the run's config, e.g. --set parallel.tensor=1")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.footer(
        "Goes from the nearest checkpoint before the step (or from the start), and writes snapshots of the model "
        "before\n"
        "and after the step, over the step's own sequences, to RUN/reruns/step-NNNNNNNN/snapshots. The run itself is\n"
        "left as it is. At the layout of the run the step has the same bits; at another it is equal to rounding.\n"
        "Several ranks: mpirun -n N headroom rerun RUN --step S.");
  }

  ExitCode run() override {
    return run_on_all_ranks([&](ParallelRuntime& runtime) {
      const std::string told = rerun(run_, options_, runtime);
      if (runtime.rank() == 0) fmt::print("{}\n", told);
      return ExitCode::done;
    });
  }

 private:
  std::string run_;
  RerunOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_rerun_verb() {
  return std::make_unique<RerunVerb>();
}

}  // namespace headroom
