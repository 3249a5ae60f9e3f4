// Puts an assembled snapshot into a file as docs/snapshot-format.md says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "analysis/snapshot_file.h"
#include "analysis/snapshot_parts.h"

namespace headroom {

// Writes beside, seals (base/seal.h) and renames; returns the file's size in bytes. `kv_bias`: the model has a bias
// slot. Throws ExitCode::disk_full; then nothing of the file is left.
std::uintmax_t write_snapshot(const std::filesystem::path& path, const SnapshotFile& file,
                              const std::vector<RawSequence>& raw, bool kv_bias);

}  // namespace headroom
