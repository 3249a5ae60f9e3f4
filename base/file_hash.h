// Hashes of what lies in a file, read block by block: files may be larger than memory, and a failing disk is an error,
// not a signal.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace headroom {

// Fills `block` from a place in the file; the number of bytes that are there, or -1 with errno.
ssize_t read_at(int file, char* block, std::size_t size, std::uint64_t place);

// xxHash64 (seed 0) of `size` bytes from `begin` on; 0, or the errno of a failed read (EIO where the file has fewer).
int hash_range(int file, std::uint64_t begin, std::uint64_t size, std::uint64_t& hash);

}  // namespace headroom
