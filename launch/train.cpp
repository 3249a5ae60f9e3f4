// headroom train: a run from a config file.
#include <string>
#include <vector>

#include "launch/mpi_verb.h"
#include "launch/verbs.h"
#include "trainer/config_schema.h"
#include "trainer/trainer.h"

namespace headroom {
namespace {

class TrainVerb : public Verb {
 public:
  TrainVerb() : Verb("train", "Train a model as a config file says") {}

  void declare(CLI::App& app) override {
    app.add_option("config", config_, "The run's config, TOML")->required()->type_name("FILE");
    app.add_option("--set", overrides_, "Override a key, e.g. --set optim.lr=1e-3; may be given many times")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.add_flag("--resume", options_.resume,
                 "Go on from the run's newest whole checkpoint, at any layout, or start if there is none");
    app.add_flag("--accept-mismatch", options_.accept_mismatch,
                 "With --resume: also from a checkpoint of another config, corpus or tokenizer")
        ->needs("--resume");
    app.footer(
        "Run on several ranks with mpirun -n N headroom train FILE.\n\nSIGTERM, SIGINT or faults.signal: the run "
        "saves a checkpoint and leaves with exit code 75, to be started again with --resume; a second one ends it "
        "at once.\n\nKeys of the config file:\n\n" +
        describe_keys());
  }

  ExitCode run() override {
    return run_on_all_ranks([&](ParallelRuntime& runtime) {
      const RunEnd end = train(load_config(config_, overrides_), options_, runtime);
      return end == RunEnd::finished ? ExitCode::done : ExitCode::requeue;
    });
  }

 private:
  std::string config_;
  std::vector<std::string> overrides_;
  TrainOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_train_verb() {
  return std::make_unique<TrainVerb>();
}

}  // namespace headroom
