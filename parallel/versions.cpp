#include "parallel/versions.h"

#include <cblas.h>
#include <dnnl.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <mpi.h>

namespace headroom {
namespace {

// "Open MPI v4.1.4" of the longer text, which ends at the first comma.
std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole(text, static_cast<std::size_t>(length));
  return whole.substr(0, whole.find(','));
}

std::string openblas_version() {
  const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..."
  return config.substr(0, config.find(' ', config.find(' ') + 1));
}

}  // namespace

std::string library_versions() {
  const dnnl_version_t* const dnnl = dnnl_version();
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}, oneDNN {}.{}.{}, {}, HDF5 {}.{}.{}", mpi_version(), dnnl->major, dnnl->minor, dnnl->patch,
                     openblas_version(), major, minor, release);
}

}  // namespace headroom
