// The libraries that the backend is made of, for Backend::parts: each says its version, or why it is not there.
#pragma once

#include <string>
#include <vector>

namespace headroom::cuda {

using Part = std::string (*)();  // "cuDNN 9.19.0", "NCCL: libnccl.so.2 not found"

// Called by a file's static initialiser:
//   const bool listed = add_part(nccl_part);
bool add_part(Part part);

// What all of them say, in alphabetical order.
std::vector<std::string> added_parts();

}  // namespace headroom::cuda
