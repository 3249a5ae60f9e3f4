// How fast a directory takes and gives a file, and whether it gives what it took.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace headroom {

struct DiskFigures {
  double write = 0.0;  // bytes/s, until it is synchronised with the disk
  double read = 0.0;  // bytes/s, after the system was asked to forget its copy in memory, which not all file systems do
};

// Writes DIRECTORY/NAME and reads it back; the file is gone afterwards, also when this fails. Throws
// ExitCode::disk_full when it cannot be written, and ExitCode::bad_data when it cannot be read or holds other bytes.
DiskFigures time_disk(const std::filesystem::path& directory, const std::string& name, std::int64_t bytes);

}  // namespace headroom
