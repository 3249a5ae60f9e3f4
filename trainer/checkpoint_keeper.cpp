#include "trainer/checkpoint_keeper.h"

#include <algorithm>
#include <utility>

#include "trainer/logging.h"

namespace headroom {
namespace {

constexpr double kWorthTelling = 1.0;  // seconds of waiting for a disk

}  // namespace

void CheckpointKeeper::after_step(std::int64_t step, bool good, bool all_ready) {
  step_ = step;
  if (writer_->busy() && all_ready) look_after();
  owed_ = owed_ || due(step);
  const bool retry = first_failure_ && step >= retry_at_ && !writer_->busy();
  if (!good || (!owed_ && !retry)) return;
  owed_ = false;
  if (writer_->busy()) {
    const Stopwatch waiting;
    settle();
    if (root_ && waiting.seconds() >= kWorthTelling) {
      log_warning(
          "step {}: waited {:.1f} s for the checkpoint of step {}: the disk is slower than checkpoint.every = {}", step,
          waiting.seconds(), attempted_, every_);
    }
  }
  attempt(step);
}

void CheckpointKeeper::save_now(std::int64_t step) {
  step_ = step;
  if (writer_->busy()) settle();
  if (newest_ == step) return;
  attempted_ = step;
  const Stopwatch waiting;
  try {
    writer_->begin(text_());
    const CheckpointReceipt receipt = writer_->finish();
    stall_ = waiting.seconds();
    succeeded(receipt);
  } catch (const Error& error) {
    if (error.code() != ExitCode::disk_full) throw;
    throw Error(error.code(), fmt::format("the checkpoint of step {} could not be written: {}", step, error.what()),
                going_on(error));
  }
}

void CheckpointKeeper::settle() {
  if (!writer_->busy()) return;
  try {
    succeeded(writer_->finish());
  } catch (const Error& error) {
    failed(error);
  }
}

void CheckpointKeeper::attempt(std::int64_t step) {
  attempted_ = step;
  const Stopwatch waiting;
  try {
    writer_->begin(text_());
  } catch (const Error& error) {
    failed(error);
  }
  stall_ = waiting.seconds();
}

void CheckpointKeeper::look_after() {
  try {
    if (const std::optional<CheckpointReceipt> receipt = writer_->advance()) succeeded(*receipt);
  } catch (const Error& error) {
    failed(error);
  }
}

void CheckpointKeeper::succeeded(const CheckpointReceipt& receipt) {
  if (first_failure_ && root_) log_warning("checkpoints can be written again: {}", receipt.path.string());
  if (!receipt.trouble.empty() && root_) {
    log_warning("{} is complete, but older checkpoints are not in order: {}", receipt.path.string(), receipt.trouble);
  }
  first_failure_.reset();
  patience_ = 1;
  newest_ = attempted_;
  report_ = {{"path", receipt.path.filename().string()},
             {"bytes", receipt.bytes},
             {"stall_seconds", stall_},
             {"copy_seconds", receipt.copy_seconds},
             {"seconds", receipt.total_seconds}};
}

std::string CheckpointKeeper::going_on(const Error& error) const {
  return fmt::format(
      "{} Bring the checkpoints' directory back if it is away, then go on with --resume; what was trained "
      "since step {} is lost.",
      error.hint(), newest_.value_or(0));
}

void CheckpointKeeper::failed(const Error& error) {
  if (error.code() != ExitCode::disk_full) throw Error(error);
  if (!first_failure_) first_failure_ = attempted_;
  // Of two tries that belong to different intervals the later one was due.
  if (every_ > 0 && attempted_ / every_ > *first_failure_ / every_) {
    throw Error(ExitCode::disk_full,
                fmt::format("no checkpoint could be written since step {}: {}", *first_failure_, error.what()),
                going_on(error));
  }
  retry_at_ = step_ + patience_;
  patience_ *= 2;
  if (root_) {
    log_error("the checkpoint of step {} could not be written, training goes on and tries again after step {}: {}",
              attempted_, retry_at_, error.what());
  }
  report_ = {{"failed", error.what()}, {"retry_at", retry_at_}};
}

std::optional<nlohmann::ordered_json> CheckpointKeeper::take_report() {
  return std::exchange(report_, std::nullopt);
}

}  // namespace headroom
