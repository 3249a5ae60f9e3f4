// The lock that keeps a second run out of a run's directory: the file `lock` in it, whose text says who holds it.
//
// On one host the operating system's lock on the file (flock) is the truth, and dies with its owner. Network file
// systems often do not share it between hosts, or have none. So the owner also gives signs of life: a thread touches
// the file every heartbeat, and letting go in order empties it. Who finds the file not locked, but naming a holder,
//   on this host                             takes it over: that process died;
//   in an earlier start of the same job      takes it over: the scheduler requeued the job (Slurm counts its restarts);
//   anywhere else                            watches the file for some heartbeats, and takes it over if nothing moves.
// Only the server's clock matters: times of the file are compared with each other, never with a clock of ours.
//
// What this cannot see: two hosts that do not share locks and start within the same moment in a directory that nobody
// holds; and a holder that was stopped for longer than the patience of who watches it.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/descriptor.h"

namespace headroom {

struct LockTiming {
  std::chrono::milliseconds heartbeat{5000};
  int patience = 3;  // heartbeats without a sign of life that mean death
};

class RunLock {
 public:
  // Takes the lock of `directory`, which must exist; watching another host's takes up to `patience` heartbeats, and one
  // more to see whether somebody else did the same. Throws ExitCode::busy naming process, host and start time of the
  // holder, ExitCode::disk_full where the file cannot be made.
  explicit RunLock(const std::filesystem::path& directory, const LockTiming& timing = {});
  // Lets go at once.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Whose lock was taken over because it died, as its file told.
  const std::optional<std::string>& took_over() const { return took_over_; }

 private:
  void refuse(const std::string& holder, const std::string& because = {}) const;
  bool died(const std::string& holder) const;
  void write_name() const;
  void give_signs_of_life(const std::stop_token& stop) const;

  std::filesystem::path file_;
  LockTiming timing_;
  Descriptor lock_;
  std::string name_;  // this holder, as the file tells it
  std::optional<std::string> took_over_;
  std::jthread heart_;
};

}  // namespace headroom
