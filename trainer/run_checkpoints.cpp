// How a run is saved, how it goes on from what was saved, and how it goes back there.
#include <algorithm>
#include <fstream>
#include <limits>

#include "base/system.h"
#include "base/version.h"
#include "optim/schedule.h"
#include "parallel/agreement.h"
#include "parallel/versions.h"
#include "trainer/config_schema.h"
#include "trainer/run.h"

namespace headroom {
namespace {

using nlohmann::ordered_json;

// A fingerprint only says that two configs differ; the checkpoint's own config says where.
std::vector<std::string> config_differences(const std::filesystem::path& checkpoint, const RunConfig& config) {
  const std::filesystem::path file = checkpoint / "config.toml";
  try {
    return computing_differences(load_config(file, {}), config);
  } catch (const Error& error) {
    return {fmt::format("its config cannot be compared: {}", error.what())};
  }
}

// Of a difference "key: old -> new". The context's length is none: where positions are learned, their table's shape is
// compared.
bool is_architecture(std::string_view difference) {
  return difference.starts_with("model.") && !difference.starts_with("model.seq_len:");
}

// A run that has had checkpoints and finds none must not begin anew, which would take its metrics with it.
void refuse_lost_checkpoints(const RunDirectory& directory) {
  std::error_code absent;
  bool had = std::filesystem::exists(directory.finished_mark(), absent);
  std::ifstream metrics(directory.metrics_file());
  for (std::string line; !had && std::getline(metrics, line);) {
    had = line.find("\"checkpoint\":{\"path\"") != std::string::npos;
  }
  if (!had) return;
  throw Error(
      ExitCode::bad_checkpoint,
      fmt::format("{} had checkpoints, and there is none in {}", directory.path().string(),
                  directory.checkpoints().string()),
      "Bring them back where they were moved or not mounted; or begin anew under another name (--set name=...).");
}

}  // namespace

void Run::load(const std::filesystem::path& checkpoint, const Manifest& manifest) {
  std::vector<std::string> reasons = mismatches(manifest, identity_);
  // A model from elsewhere was trained by no config of ours: only its architecture binds.
  const bool imported = manifest.identity.config.empty();
  if (imported || manifest.identity.config != identity_.config) {
    for (std::string& difference : config_differences(checkpoint, config_)) {
      if (!imported || is_architecture(difference)) reasons.push_back("  " + difference);
    }
  }
  const std::string what = fmt::format("{}: {}", checkpoint.string(), fmt::join(reasons, "\n"));
  if (!reasons.empty() && mismatch_ == Mismatch::refuse) {
    throw Error(
        ExitCode::bad_checkpoint, what,
        "Go on with the run's own config and corpus, give this run another name (--set name=...), or load it all "
        "the same with --accept-mismatch.");
  }
  if (!reasons.empty() && root()) log_warning("{}\nloaded all the same, as --accept-mismatch says", what);
  if (manifest.step > config_.train.steps) {
    throw Error(
        ExitCode::bad_config,
        fmt::format("train.steps = {}, and {} is of step {}", config_.train.steps, checkpoint.string(), manifest.step),
        "Set train.steps to where the run shall end.");
  }
  load_tensors(checkpoint, manifest, engine_, *mesh_);
  state_.step = manifest.step;
  state_.tokens = manifest.tokens;
  state_.from_json(manifest.state);
}

// Loads the newest whole checkpoint of steps up to `up_to`, if there is any; returns which. Newer ones that are damaged
// are then set aside, if asked for. Throws ExitCode::bad_checkpoint when there are some and all are damaged.
std::optional<std::filesystem::path> Run::load_newest(const CheckpointDirectory& directory, std::int64_t up_to,
                                                      bool set_aside) {
  std::vector<std::filesystem::path> damaged;
  std::string damage;
  for (std::size_t index = 0;; ++index) {
    const std::string found = on_root(mesh_->world(), [&] {
      const std::vector<std::filesystem::path> all = directory.up_to(up_to);
      return index < all.size() ? all[index].string() : std::string();
    });
    if (found.empty()) break;
    const VerifiedCheckpoint verified = verify_checkpoint(found, mesh_->world());
    if (!verified.damage.empty()) {
      if (root()) log_error("{} is damaged:\n{}", found, verified.damage);
      damage = verified.damage;
      damaged.emplace_back(found);
      continue;
    }
    load(found, verified.manifest);
    on_root(mesh_->world(), [&] {
      if (set_aside) {
        for (const auto& path : damaged) {
          directory.set_aside(path, CheckpointDirectory::Aside::damaged);
          log_warning("{} is set aside as {}.damaged", path.string(), path.filename().string());
        }
      }
      return std::string();
    });
    return found;
  }
  if (damaged.empty()) return std::nullopt;
  throw Error(ExitCode::bad_checkpoint,
              fmt::format("no checkpoint in {} is whole: {}", directory.path().string(), damage),
              "Restore one from a copy, or start over in another directory (--set name=...).");
}

void Run::resume(Mismatch mismatch) {
  mismatch_ = mismatch;
  on_root(mesh_->world(), [&] {
    checkpoints_.tidy();
    return std::string();
  });
  const auto from = load_newest(checkpoints_, std::numeric_limits<std::int64_t>::max(), /*set_aside=*/true);
  if (from) keeper_.set_newest(state_.step);
  if (!from) {
    on_root(mesh_->world(), [&] {
      refuse_lost_checkpoints(directory_);
      return std::string();
    });
  }
  if (!root()) return;
  if (from) {
    log_info("resumed from {} at step {}", from->string(), state_.step);
  } else {
    log_info("no checkpoint in {} yet: starting from the beginning", checkpoints_.path().string());
  }
}

// The records are on the disk before a checkpoint of their step: a run that goes on from it must find them there.
CheckpointText Run::checkpoint_text() {
  on_root(mesh_->world(), [&] {
    metrics_->sync();
    state_.metrics = metrics_->prefix();
    return std::string();
  });
  const std::int64_t step_tokens = config_.train.global_batch * config_.model.seq_len;
  CheckpointText text{.step = state_.step, .tokens = state_.tokens, .identity = identity_, .state = state_.to_json()};
  text.about = {
      {"run", config_.name},
      {"variant", config_.variant},
      {"time", local_time()},
      {"host", host_name()},
      {"version", version_line()},
      {"libraries", library_versions()},
      {"seed", config_.seed},
      {"epoch", data_.epoch(state_.next_sample())},
      {"next_lr",
       learning_rate(config_.optim, std::min(state_.step + 1, config_.train.steps), config_.train.steps, step_tokens)},
      {"next_tvr", config_.optim.tvr.enabled
                       ? ordered_json((state_.step / config_.optim.tvr.interval + 1) * config_.optim.tvr.interval)
                       : ordered_json()}};
  text.config_toml = to_toml(config_);
  return text;
}

// Too many bad steps in a row: back to the last checkpoint before them, without the samples that made them, or the end.
void Run::give_up_or_roll_back() {
  keeper_.settle();
  const std::vector<StepHistory::BadStep> bad = state_.history.bad_in_a_row();
  const std::string what =
      fmt::format("{} steps in a row, {} to {}, were not made", bad.size(), bad.front().step, bad.back().step);
  const std::string hint =
      "Look at the steps with `headroom rerun`; go on with --resume and --set bad_steps.then=rollback, or with a lower "
      "optim.lr and --accept-mismatch.";
  if (config_.bad_steps.then == BadStepAction::stop) throw Error(ExitCode::diverged, what, hint);
  if (state_.rollbacks >= config_.bad_steps.rollbacks) {
    throw Error(ExitCode::diverged, fmt::format("{}, and {} rollbacks did not help", what, state_.rollbacks), hint);
  }
  const std::int64_t rollbacks = state_.rollbacks + 1;
  std::vector<SampleRange> left_out = state_.left_out;
  for (const StepHistory::BadStep& step : bad) left_out.push_back(step.samples);
  if (!load_newest(checkpoints_, bad.front().step - 1, /*set_aside=*/true)) {
    throw Error(ExitCode::diverged, what + ", and there is no checkpoint to go back to", hint);
  }
  state_.left_out.insert(state_.left_out.end(), left_out.begin(), left_out.end());
  state_.rollbacks = rollbacks;
  state_.rolled_back_to = state_.step;
  keeper_.set_newest(state_.step);
  if (root()) {
    log_warning("{}: back to step {}, leaving their samples out ({} of {} rollbacks)", what, state_.step, rollbacks,
                config_.bad_steps.rollbacks);
  }
  on_root(mesh_->world(), [&] {
    // A stop between bad steps has saved what is now taken back.
    for (const auto& later : checkpoints_.all()) {
      if (*step_of_checkpoint(later) > state_.step)
        checkpoints_.set_aside(later, CheckpointDirectory::Aside::taken_back);
    }
    take_back_records(bad);
    return std::string();
  });
}

// Cuts the run's files back to the state's step, and leaves word of it.
void Run::take_back_records(const std::vector<StepHistory::BadStep>& bad) {
  metrics_.reset();
  metrics_.emplace(directory_.metrics_file(), state_.step, state_.metrics);
  if (events_) events_.emplace(directory_.tensorboard(), state_.step);
  ordered_json ranges = ordered_json::array();
  for (const StepHistory::BadStep& step : bad) ranges.push_back({step.samples.first, step.samples.count});
  // Before the first step that comes again: a run that goes on from before it comes to the event once more.
  metrics_->write({{"event", "rollback"},
                   {"before_step", state_.step + 1},
                   {"bad_steps", {bad.front().step, bad.back().step}},
                   {"samples_left_out", std::move(ranges)}});
}

ordered_json Run::rerun(std::int64_t step, const CheckpointDirectory& source, const std::vector<SampleRange>& left_out,
                        const std::function<RunSnapshots(std::uint64_t)>& snapshots_of) {
  const auto from = load_newest(source, step - 1, /*set_aside=*/false);
  state_.unfinished.reset();
  state_.left_out.insert(state_.left_out.end(), left_out.begin(), left_out.end());
  if (root()) log_info("from {}", from ? from->string() : "the beginning");
  while (state_.step < step - 1) one_step();
  const RunSnapshots snapshots = snapshots_of(state_.next_sample());
  const auto take = [&] {
    snapshots.take(directory_.snapshots(), state_.step, state_.tokens, identity_, engine_.model(), *mesh_);
  };
  take();
  ordered_json record = one_step();
  take();
  return record;
}

}  // namespace headroom
