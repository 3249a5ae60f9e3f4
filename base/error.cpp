#include "base/error.h"

namespace headroom {

const char* name_of(ExitCode code) {
  switch (code) {
    case ExitCode::done:
      return "done";
    case ExitCode::internal:
      return "internal";
    case ExitCode::usage:
      return "usage";
    case ExitCode::bad_config:
      return "bad_config";
    case ExitCode::bad_data:
      return "bad_data";
    case ExitCode::bad_checkpoint:
      return "bad_checkpoint";
    case ExitCode::diverged:
      return "diverged";
    case ExitCode::communication:
      return "communication";
    case ExitCode::out_of_memory:
      return "out_of_memory";
    case ExitCode::disk_full:
      return "disk_full";
    case ExitCode::busy:
      return "busy";
    case ExitCode::requeue:
      return "requeue";
  }
  return "";
}

void fail_check(const char* expression, const char* file, int line, const std::string& message) {
  throw Error(ExitCode::internal, fmt::format("{} (check `{}` failed at {}:{})", message, expression, file, line),
              "This is a bug in Headroom: please report it with this message and the run's config.toml.");
}

}  // namespace headroom
