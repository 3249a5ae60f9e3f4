// Reads a snapshot file (docs/snapshot-format.md), checking that it is one and that its shapes agree.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "analysis/snapshot_file.h"
#include "base/hdf5.h"

namespace headroom {

// An open snapshot: everything but the raw arrays is read at once, those when asked for. Opening holds the whole file
// against its seal (base/seal.h) before HDF5 sees a byte of it.
// Throws ExitCode::bad_checkpoint naming the file, and the dataset where there is one to name, when the file is
// missing, foreign, truncated, damaged, of another format version, or its shapes contradict each other.
class SnapshotReader {
 public:
  static SnapshotReader open(const std::filesystem::path& path);

  const SnapshotFile& contents() const { return contents_; }
  const std::filesystem::path& path() const { return file_.path(); }

  // The probe sequences whose raw states the file holds: those of kind "sentence".
  std::vector<std::int64_t> raw_sequences() const;

  // [L, n, d] of a raw sequence, n = contents().probe.lengths[sequence].
  std::vector<float> raw_block_output(std::int64_t sequence) const;
  // [L, H, n, n]: queries, then keys; rows sum to 1, or to 1 - attention_bias with a KV bias.
  std::vector<float> raw_attention(std::int64_t sequence) const;
  // [L, H, n]; empty without a KV bias.
  std::vector<float> raw_attention_bias(std::int64_t sequence) const;

 private:
  explicit SnapshotReader(H5File file) : file_(std::move(file)) {}

  std::int64_t tokens(std::int64_t sequence) const;

  H5File file_;
  SnapshotFile contents_;
};

}  // namespace headroom
