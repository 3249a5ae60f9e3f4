// headroom train: a run from a config file.
#include <fmt/format.h>

#include <filesystem>
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
      const RunConfig config = load_config(config_, overrides_);
      if (options_.resume) refuse_another_runs_config(config);
      const RunEnd end = train(config, options_, runtime);
      return end == RunEnd::finished ? ExitCode::done : ExitCode::requeue;
    });
  }

 private:
  // A config that lies in a run's directory is that run's: where its name or place was changed since, by a copy or a
  // move, going on would begin anew somewhere else.
  void refuse_another_runs_config(const RunConfig& config) const {
    namespace fs = std::filesystem;
    const fs::path own = fs::weakly_canonical(fs::absolute(config_)).parent_path();
    const fs::path named = fs::weakly_canonical(fs::absolute(config.runs_dir / config.name));
    if (own == named || !fs::exists(own / "checkpoints")) return;
    throw Error(
        ExitCode::usage,
        fmt::format("{} lies in the run {}, but says that its run is {}", config_, own.string(), named.string()),
        fmt::format("To go on with the former: --set runs_dir={} --set name={}. For another run take a config "
                    "outside of any.",
                    own.parent_path().string(), own.filename().string()));
  }

  std::string config_;
  std::vector<std::string> overrides_;
  TrainOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_train_verb() {
  return std::make_unique<TrainVerb>();
}

}  // namespace headroom
