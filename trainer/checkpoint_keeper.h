// When a run is saved, and what becomes of it when it cannot be: the intervals, the wait for a slow disk, and the tries
// after a failure.
//
// A checkpoint that fails is tried again after 1, 2, 4 ... steps while training goes on; when the next one is due and
// still none can be written, the run ends, because more would be lost with every step.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "trainer/checkpoint_writer.h"

namespace headroom {

class CheckpointKeeper {
 public:
  // What to save: called on every rank when a checkpoint begins, before the copy. It may throw ExitCode::disk_full on
  // every rank (the metrics, which must be on the disk first), which counts as a checkpoint that failed.
  using Text = std::function<CheckpointText()>;

  // Saves every `every` steps (0: only when told) with `writer`'s help. Of all ranks that keep alike, the `root` one
  // says what happens in the log. All calls are collective.
  CheckpointKeeper(CheckpointWriter& writer, std::int64_t every, bool root, Text text)
      : writer_(&writer), every_(every), root_(root), text_(std::move(text)) {}

  // After step `step`. `good`: the step is one to go back to; a checkpoint that is due at another comes with the next
  // good one. `all_ready`: every rank's writer is. Throws ExitCode::disk_full as said above.
  void after_step(std::int64_t step, bool good, bool all_ready);

  // Saves step `step` now, unless that is done, and waits for the end. Throws ExitCode::disk_full.
  void save_now(std::int64_t step);

  // Waits for what is under way; whether it succeeded shows in `newest`.
  void settle();

  // The step of the newest checkpoint that is complete, of this process or `set_newest`.
  std::optional<std::int64_t> newest() const { return newest_; }
  void set_newest(std::optional<std::int64_t> step) { newest_ = step; }

  // What there is to tell since the last call, for the metrics: {path, bytes, stall_seconds, seconds}, or
  // {failed, retry_at}.
  std::optional<nlohmann::ordered_json> take_report();

 private:
  void attempt(std::int64_t step);
  void look_after();
  void succeeded(const CheckpointReceipt& receipt);
  void failed(const Error& error);
  std::string going_on(const Error& error) const;
  bool due(std::int64_t step) const { return every_ > 0 && step % every_ == 0; }

  CheckpointWriter* writer_;
  std::int64_t every_;
  bool root_;
  Text text_;
  bool owed_ = false;           // a checkpoint was due and has not begun
  std::int64_t step_ = 0;       // training has come to
  std::int64_t attempted_ = 0;  // the step of the last try
  double stall_ = 0.0;          // seconds that training stood still for it
  std::optional<std::int64_t> newest_;
  std::optional<nlohmann::ordered_json> report_;

  std::optional<std::int64_t> first_failure_;  // the step of the first try that failed since one succeeded
  std::int64_t retry_at_ = 0;
  std::int64_t patience_ = 1;  // steps until the next try
};

}  // namespace headroom
