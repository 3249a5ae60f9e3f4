// What a process asks the operating system about itself.
#pragma once

#include <cstdint>
#include <string>

namespace headroom {

// The host's name, as `hostname` prints it.
std::string host_name();

// The largest resident memory that this program has had so far, in bytes. Read from /proc, because getrusage's figure
// starts with what the launching process had.
std::int64_t peak_memory_bytes();

// Resident memory now, in bytes.
std::int64_t resident_memory_bytes();

// Local time as "2026-01-02 03:04:05".
std::string local_time();

}  // namespace headroom
