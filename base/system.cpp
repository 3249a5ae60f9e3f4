#include "base/system.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <ctime>
#include <fstream>
#include <system_error>

#include "base/error.h"

namespace headroom {
namespace {

// A "Name:   123 kB" line of /proc/self/status, in bytes.
std::int64_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word == name + ":") {
      std::int64_t kibibytes = 0;
      if (status >> kibibytes) return kibibytes * 1024;
    }
  }
  throw Error(ExitCode::internal, fmt::format("/proc/self/status has no {}", name));
}

}  // namespace

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size()) != 0)
    throw std::system_error(errno, std::generic_category(), "gethostname");
  return name.data();
}

std::int64_t peak_memory_bytes() {
  return status_bytes("VmHWM");
}

std::int64_t resident_memory_bytes() {
  return status_bytes("VmRSS");
}

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

}  // namespace headroom
