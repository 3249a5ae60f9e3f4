// runs/NAME/checkpoints: which checkpoints there are, how a new one takes its place, and which old ones go.
//
//   step-00000500/           complete: made elsewhere and renamed when everything is on disk
//   step-00000600.partial/   being written, or left behind by a run that died while it wrote
//   step-00000400.damaged/   set aside by a run that found it damaged; .taken-back/ by one that rolled back behind it
//   latest                   a link to the newest complete one
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace headroom {

// Which complete checkpoints stay when a new one has come: the newest `newest`, and those of every `every`-th step for
// good (0: none).
struct Retention {
  std::int64_t newest = 2;
  std::int64_t every = 0;
};

class CheckpointDirectory {
 public:
  explicit CheckpointDirectory(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path complete(std::int64_t step) const;
  std::filesystem::path partial(std::int64_t step) const;

  // Complete checkpoints, the oldest first. Throws ExitCode::bad_data when the directory is there and cannot be read.
  std::vector<std::filesystem::path> all() const;
  // The newest complete one.
  std::optional<std::filesystem::path> latest() const;
  // Those of steps up to `step`, the newest first.
  std::vector<std::filesystem::path> up_to(std::int64_t step) const;

  // Clears away what a run that died has left behind: partial checkpoints go, and one that had made way for a successor
  // that never came gets its name back. For the directory's owner, before it looks for checkpoints. Throws
  // ExitCode::disk_full.
  void tidy() const;
  // Makes an empty partial(step) in a directory that is there: where a disk is not mounted, one would be made in its
  // mount point. Throws ExitCode::disk_full.
  void begin(std::int64_t step) const;
  // Puts partial(step) in the place of complete(step), whose predecessor, if any, makes way by a rename. Throws
  // ExitCode::disk_full; then the predecessor is back.
  void publish(std::int64_t step) const;
  // Lets `latest` point to the newest complete checkpoint, in one rename: never at anything incomplete. Throws
  // ExitCode::disk_full.
  void point_latest() const;
  // Removes what `retention` does not keep, and what made way for complete(step), which always stays. Throws
  // ExitCode::disk_full.
  void prune(const Retention& retention, std::int64_t step) const;
  // Removes partial(step), if it is there. Never throws: it comes after a failure that is told already.
  void give_up(std::int64_t step) const noexcept;
  // Renames a complete checkpoint to NAME.damaged or NAME.taken-back, so that it is neither loaded nor counted again.
  // Throws ExitCode::disk_full.
  enum class Aside : std::uint8_t { damaged, taken_back };
  void set_aside(const std::filesystem::path& checkpoint, Aside why) const;

 private:
  std::vector<std::filesystem::path> entries() const;
  std::filesystem::path made_way(std::int64_t step) const;

  std::filesystem::path path_;
};

// The step that a checkpoint's name tells, if it is one.
std::optional<std::int64_t> step_of_checkpoint(const std::filesystem::path& checkpoint);

}  // namespace headroom
