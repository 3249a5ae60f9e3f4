#include "base/error.h"

namespace headroom {

void fail_check(const char* expression, const char* file, int line, const std::string& message) {
  throw Error(ExitCode::internal, fmt::format("{} (check `{}` failed at {}:{})", message, expression, file, line),
              "This is a bug in Headroom: please report it with this message and the run's config.toml.");
}

}  // namespace headroom
