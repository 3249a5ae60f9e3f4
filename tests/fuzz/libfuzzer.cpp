// What libFuzzer calls: the one target that its program is built with. An exception that leaves it is a crash.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/target.h"

// libFuzzer has no header for it.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace headroom;
  HEADROOM_CHECK(fuzz::targets().size() == 1, "{} targets in one program", fuzz::targets().size());
  fuzz::run(fuzz::targets().front(), {reinterpret_cast<const char*>(data), size});
  return 0;
}
