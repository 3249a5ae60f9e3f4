#include "base/version.h"

#include "headroom_commit.h"  // written by cmake/commit.cmake into the build directory

namespace headroom {

std::string version() {
  return HEADROOM_VERSION;
}

std::string build_commit() {
  return HEADROOM_COMMIT;
}

std::string version_line() {
  return "headroom " + version() + " (commit " + build_commit() + ")";
}

}  // namespace headroom
