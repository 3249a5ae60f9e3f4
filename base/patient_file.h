// A file of records whose disk may be full, read-only or away for a while: what cannot be written waits in memory.
//
// What is promised, for a file with one writer:
// - Records reach the file whole, once and in the order in which they were appended. While one cannot be written, it
// and
//   all later ones wait in memory, without a limit; every append and sync tries again.
// - The file is the one that bears the path. When it was removed, moved or replaced, or its directory was, the writer
//   looks for it again: a missing file is made anew as soon as its directory is back, an existing one is gone on with.
//   Directories are never made: where a disk is not mounted, they would be made in its mount point.
// - What was written since the last sync (the last megabyte of it) is remembered. It is written again where the file
//   found lacks it (a new file, a copy that lags behind, one cut off in the middle of a record) or where a sync failed,
//   which is how some network file systems report a full disk. What is older is lost with the file that held it.
//   A file found that is longer than what was written is not ours to cut: records follow what it holds.
// - A crash of the process loses what waits; a crash of the machine what was not synced.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>

#include "base/append_file.h"

namespace headroom {

class PatientFile {
 public:
  // Opens for appending, creating it when missing. Throws ExitCode::disk_full: a place that cannot be written from the
  // start is a mistake to correct rather than to wait for.
  explicit PatientFile(const std::filesystem::path& path);
  // Tries once more; what then still waits is lost.
  ~PatientFile();
  PatientFile(const PatientFile&) = delete;
  PatientFile& operator=(const PatientFile&) = delete;

  // Takes the record and tries to write all that waits. Does not throw when that fails: see trouble().
  void append(std::string record);

  // Tries to write what waits.
  void retry();

  // The same, and waits until everything is on the disk. Throws ExitCode::disk_full if something still waits.
  void sync();

  // What is wrong and how many records wait; nothing while all is well.
  std::optional<std::string> trouble() const;

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_waiting();
  void find_file();
  void forget_written();
  void sync_file();
  std::size_t waiting() const { return records_.size() - written_; }

  std::filesystem::path path_;
  std::optional<AppendFile> file_;
  // Of the file, bytes [0, begin_) are remembered no more; then come the first `written_` records, up to end_.
  std::uint64_t begin_;
  std::uint64_t end_;
  std::deque<std::string> records_;
  std::size_t written_ = 0;
  bool new_name_ = true;  // perhaps not on the disk yet
  std::string error_;     // why the last attempt failed; empty if it did not
};

}  // namespace headroom
