// What a process asks the operating system about itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace headroom {

// The host's name, as `hostname` prints it.
std::string host_name();

// The cores that this process may run on, by number, rising.
std::vector<int> usable_cores();

// The largest resident memory that this program has had so far, in bytes. Read from /proc, because getrusage's figure
// starts with what the launching process had.
std::int64_t peak_memory_bytes();

// Resident memory now, in bytes.
std::int64_t resident_memory_bytes();

// Memory that this process could still get, in bytes: what the host has available, or less where a control group (a
// container, a Slurm job) allows less.
std::int64_t available_memory_bytes();

// "1.5 GiB", "12.3 MiB", "123 bytes".
std::string memory_text(std::int64_t bytes);

// Local time as "2026-01-02 03:04:05".
std::string local_time();

// Universal time as "2026-01-02T03:04:05Z" (ISO 8601).
std::string utc_time();

}  // namespace headroom
