// Where the tests' files are: the source tree that they were built from, or, for test programs carried to another
// machine, the folder that HEADROOM_SOURCE_DIR names.
#pragma once

#include <cstdlib>
#include <string>

namespace headroom::test {

inline std::string source_dir() {
  const char* const named = std::getenv("HEADROOM_SOURCE_DIR");
  return named == nullptr ? HEADROOM_SOURCE_DIR : named;
}

}  // namespace headroom::test
