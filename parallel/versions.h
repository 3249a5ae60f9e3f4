// The versions of the numerical libraries in use, for the provenance of what a run writes.
#pragma once

#include <string>

namespace headroom {

// "Open MPI v4.1.4, oneDNN 2.6.3, OpenBLAS 0.3.21, HDF5 1.10.8".
std::string library_versions();

}  // namespace headroom
