// runs/NAME: where everything that a run writes has its place, and the lock that keeps a second run out of it.
//
//   config.toml  metrics.jsonl  logs/  tensorboard/  snapshots/  checkpoints/  report/  lock  finished
//
// The lock is held by the operating system for as long as the owning process lives (flock), so that nothing has to be
// cleaned up after a crash; the file's text says who holds it.
#pragma once

#include <filesystem>

namespace headroom {

class RunDirectory {
 public:
  // Creates the directory and its folders where missing and takes the lock; for rank 0. Throws ExitCode::busy naming
  // host, process and start time of the run that holds it, ExitCode::disk_full where the directory cannot be written.
  static RunDirectory own(const std::filesystem::path& path);

  // The same places without the lock; for the other ranks, after rank 0 owns it.
  static RunDirectory join(const std::filesystem::path& path);

  ~RunDirectory();
  RunDirectory(RunDirectory&& other) noexcept;
  RunDirectory& operator=(RunDirectory&&) = delete;

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
  void lock();

  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace headroom
