// The file driver under HDF5 files that are being written. HDF5's own drivers report a full disk to the library, whose
// metadata cache does not survive it: closing the file then fails for good and the process crashes at exit. This
// driver remembers the first failure and tells the library that all is well; whoever writes looks at the failure
// after every call and throws.
#pragma once

#include <cstdint>

namespace headroom {

// The first write that failed; errno is 0 while all is well. Must outlive the file.
struct WriteFailure {
  int error_number = 0;
  const char* operation = "";  // "write", "truncate"
};

// Makes the file-access property list (an hid_t) open files through the driver. Throws ExitCode::internal if HDF5
// refuses.
void use_recording_driver(std::int64_t access_properties, WriteFailure* failure);

}  // namespace headroom
