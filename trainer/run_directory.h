// runs/NAME: where everything that a run writes has its place, and the lock that keeps a second run out of it.
//
//   config.toml  metrics.jsonl  logs/  tensorboard/  snapshots/  checkpoints/  report/  lock  finished
//
// Nothing has to be cleaned up after a crash: a lock whose holder died is taken over (trainer/run_lock.h).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "trainer/run_lock.h"

namespace headroom {

class RunDirectory {
 public:
  // Creates the directory and its folders where missing and takes the lock; for rank 0. That takes a while where the
  // lock names a holder on another host. Throws ExitCode::busy naming host, process and start time of the run that
  // holds it, ExitCode::disk_full where the directory cannot be written.
  static RunDirectory own(const std::filesystem::path& path, const LockTiming& timing = {});

  // The same places without the lock; for the other ranks, after rank 0 owns it.
  static RunDirectory join(const std::filesystem::path& path);

  // Whose lock was taken over because that run died without letting go; for the log.
  std::optional<std::string> took_over() const { return lock_ ? lock_->took_over() : std::nullopt; }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config_file() const { return path_ / "config.toml"; }
  std::filesystem::path metrics_file() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path logs() const { return path_ / "logs"; }
  std::filesystem::path tensorboard() const { return path_ / "tensorboard"; }
  std::filesystem::path snapshots() const { return path_ / "snapshots"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path report() const { return path_ / "report"; }
  // Which algorithms a GPU's matrix products take.
  std::filesystem::path product_choices() const { return path_ / "product-choices.txt"; }
  std::filesystem::path finished_mark() const { return path_ / "finished"; }

 private:
  explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  std::unique_ptr<RunLock> lock_;  // none where joined
};

}  // namespace headroom
