// A run on one rank: the loop around trainer/engine.h and everything that happens every so often.
//
//   per step: data -> engine step -> [evaluation] -> [snapshot] -> one metrics record -> [checkpoint]
//
// Evaluation and snapshot belong to the step; a stop that comes between leaves the step's record in the checkpoint, and
// the resumed run finishes it first.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "analysis/monitor.h"
#include "data/corpus.h"
#include "trainer/checkpoint_keeper.h"
#include "trainer/checkpoint_reader.h"
#include "trainer/logging.h"
#include "trainer/metrics.h"
#include "trainer/rehearsal.h"
#include "trainer/run_directory.h"
#include "trainer/run_snapshot.h"
#include "trainer/run_tasks.h"
#include "trainer/step_data.h"
#include "trainer/stragglers.h"
#include "trainer/tensorboard.h"
#include "trainer/training_state.h"

namespace headroom {

// What a checkpoint must agree with to belong to a config and a corpus.
CheckpointIdentity identity_of(const RunConfig& config, const Corpus& corpus);

// Whether a checkpoint of another model, corpus or tokenizer is refused or loaded with a warning.
enum class Mismatch : std::uint8_t { refuse, accept };

class Run {
 public:
  // Collective, like all calls. The mesh and the corpus outlive the run. `config` as resolved_for leaves it.
  Run(const RunConfig& config, const Mesh& mesh, Device device, const Corpus& corpus, RunDirectory directory);

  // Says what a user should see before the first step.
  void announce(int threads, const std::vector<std::string>& device_notes);

  // Goes on from the newest checkpoint of the run's directory that is whole, if there is any; damaged ones behind it
  // are set aside with a warning. Throws ExitCode::bad_checkpoint for one of another config or corpus, and when all are
  // damaged, which then stay where they are.
  void resume(Mismatch mismatch);

  // Opens the run's files and trains to the last step or until a stop is asked for (trainer/stop_request.h), which ends
  // in a checkpoint. Returns whether the run is done.
  bool train();

  // Re-executes step `step` from the nearest checkpoint in `source` before it, or from the start, and looks at the
  // model before and after it with the snapshots that `snapshots_of` makes for the step's first sample; returns the
  // step's record. `left_out`: by rollbacks before the step. Nothing is written but snapshots.
  nlohmann::ordered_json rerun(std::int64_t step, const CheckpointDirectory& source,
                               const std::vector<SampleRange>& left_out,
                               const std::function<RunSnapshots(std::uint64_t)>& snapshots_of);

  const std::filesystem::path& path() const { return directory_.path(); }

 private:
  bool root() const { return mesh_->world().rank() == 0; }
  std::optional<std::filesystem::path> load_newest(const CheckpointDirectory& directory, std::int64_t up_to,
                                                   bool set_aside);
  void load(const std::filesystem::path& checkpoint, const Manifest& manifest);
  void open_outputs();
  void write_provenance();
  nlohmann::ordered_json one_step();
  void judge(const StepOutcome& outcome, std::uint64_t first_sample, nlohmann::ordered_json& record);
  bool look(nlohmann::ordered_json& record);
  bool finish_step(nlohmann::ordered_json record);
  void keep_record(const nlohmann::ordered_json& record);
  static void tell_trouble(const char* what, const std::optional<std::string>& trouble, bool& told);
  void give_up_or_roll_back();
  void take_back_records(const std::vector<StepHistory::BadStep>& bad);
  CheckpointText checkpoint_text();
  void finish();

  RunConfig config_;
  const Mesh* mesh_;
  Device device_;
  const Corpus* corpus_;
  RunDirectory directory_;
  Logging logging_;
  Engine engine_;
  StepData data_;
  HeldOut held_out_;
  Monitor monitor_;
  RunSnapshots snapshots_;
  std::optional<RunTasks> tasks_;  // while it trains
  CheckpointIdentity identity_;
  Stragglers stragglers_;
  Rehearsal rehearsal_;
  TrainingState state_;
  Mismatch mismatch_ = Mismatch::refuse;
  CheckpointDirectory checkpoints_;
  CheckpointWriter writer_;
  CheckpointKeeper keeper_;
  double peak_flops_;  // of all ranks' devices together; 0 if unknown

  // Rank 0's, which belong to the whole run.
  std::optional<MetricsWriter> metrics_;
  std::optional<EventWriter> events_;
  bool metrics_in_trouble_ = false;
  bool events_in_trouble_ = false;
};

}  // namespace headroom
