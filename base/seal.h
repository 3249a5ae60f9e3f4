// A finished file's seal: a trailer by which a flipped bit or a missing end is noticed before anything of the file is
// believed. It goes behind formats that tolerate bytes after their end, as HDF5 does.
//
//   16 bytes  "headroom seal 1\n"
//    8 bytes  xxHash64 (seed 0) of everything before the seal, little-endian
#pragma once

#include <cstdint>
#include <filesystem>

namespace headroom {

inline constexpr std::uint64_t kSealBytes = 24;

// Reads the file through, appends its seal and synchronises it with the disk. The file, which must not have a seal yet,
// is complete and nobody else's. Throws ExitCode::disk_full; what is then left at its end is for the caller to remove.
void seal_file(const std::filesystem::path& path);

// Reads the whole file in blocks. Throws ExitCode::bad_checkpoint naming the file and whether it is missing, truncated,
// without a seal, or damaged.
void verify_seal(const std::filesystem::path& path);

}  // namespace headroom
