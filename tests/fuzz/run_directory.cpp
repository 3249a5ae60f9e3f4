// A run directory as the report reads it: config.toml, then metrics.jsonl.
#include "analysis/report/run.h"
#include "tests/fuzz/target.h"
#include "tests/scratch.h"

namespace headroom::fuzz {
namespace {

void drive(std::string_view bytes) {
  static const test::Scratch scratch;
  const std::vector<std::string> parts = text_parts(bytes, 2);
  scratch.file("config.toml", parts[0]);
  scratch.file("metrics.jsonl", parts[1]);
  const report::Run run = report::read_run(scratch.path(), {});
  if (!run.metrics) return;
  const report::MetricsLog& log = *run.metrics;
  for (std::size_t i = 1; i < log.steps.size(); ++i) {
    HEADROOM_CHECK(log.steps[i - 1].step < log.steps[i].step, "step {} follows step {}", log.steps[i].step,
                   log.steps[i - 1].step);
  }
  HEADROOM_CHECK(log.evaluations.size() <= log.steps.size() && log.tvr.size() <= log.steps.size(),
                 "{} evaluations and {} rescalings in {} steps", log.evaluations.size(), log.tvr.size(),
                 log.steps.size());
  const report::Speed speed = log.speed();
  HEADROOM_CHECK(!(speed.lower_quartile > speed.median) && !(speed.median > speed.upper_quartile), "quartiles cross");
  log.smoothed_loss_at(run.tokens_seen());
  log.evaluation_at(run.tokens_seen());
  run.facts.tvr_target_of(run.facts.n_layers);
}

const Registration kRegistered({"run_directory", {ExitCode::bad_data, ExitCode::bad_config}, drive});

}  // namespace
}  // namespace headroom::fuzz
