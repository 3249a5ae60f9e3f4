// What the program's own symbol table knows: names of kernels, and where their shared memory is.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace headroom::emulation {

// The name of the function at this address, demangled, without parameters; the address where there is no name.
std::string function_name(const void* address);

// The __shared__ variables of every kernel in the library that `address` belongs to, as they lie in the calling
// thread's memory. Only those of known trivial kind: variables of functions in namespace headroom::cuda.
std::vector<std::span<std::byte>> shared_variables(const void* address);

}  // namespace headroom::emulation
