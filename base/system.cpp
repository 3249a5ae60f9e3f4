#include "base/system.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "base/error.h"

namespace headroom {
namespace {

// A "Name:   123 kB" line of a file under /proc, in bytes.
std::int64_t kernel_bytes(const char* file, const std::string& name) {
  std::ifstream stream(file);
  std::string word;
  while (stream >> word) {
    if (word == name + ":") {
      std::int64_t kibibytes = 0;
      if (stream >> kibibytes) return kibibytes * 1024;
    }
  }
  throw Error(ExitCode::internal, fmt::format("{} has no {}", file, name));
}

// A control group's file of one number; nothing where there is none, or no limit ("max").
std::optional<std::int64_t> group_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::int64_t bytes = 0;
  if (stream >> bytes) return bytes;
  return std::nullopt;
}

// What the control groups (version 2) from this process' own up to the root leave it; nothing without a limit.
std::optional<std::int64_t> group_headroom() {
  std::ifstream membership("/proc/self/cgroup");
  std::optional<std::int64_t> least;
  for (std::string line; std::getline(membership, line);) {
    if (!line.starts_with("0::/")) continue;
    const std::filesystem::path root = "/sys/fs/cgroup";
    for (std::filesystem::path group = root / line.substr(4); group != root.parent_path();
         group = group.parent_path()) {
      const auto limit = group_bytes(group / "memory.max");
      const auto used = group_bytes(group / "memory.current");
      if (limit && used) least = std::min(least.value_or(*limit - *used), *limit - *used);
      if (group == root) break;
    }
  }
  return least;
}

std::string time_text(const char* format, std::tm* (*parts_of)(const std::time_t*, std::tm*)) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  parts_of(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), format, &parts);
  return text.data();
}

}  // namespace

std::vector<int> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) {
    throw Error(ExitCode::internal, fmt::format("sched_getaffinity: {}", std::strerror(errno)));
  }
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size()) != 0)
    throw std::system_error(errno, std::generic_category(), "gethostname");
  return name.data();
}

std::int64_t peak_memory_bytes() {
  return kernel_bytes("/proc/self/status", "VmHWM");
}

std::int64_t resident_memory_bytes() {
  return kernel_bytes("/proc/self/status", "VmRSS");
}

std::int64_t available_memory_bytes() {
  const std::int64_t host = kernel_bytes("/proc/meminfo", "MemAvailable");
  return std::max<std::int64_t>(0, std::min(host, group_headroom().value_or(host)));
}

std::string memory_text(std::int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (bytes >= std::int64_t{1} << 30) return fmt::format("{:.1f} GiB", size / (1 << 30));
  if (bytes >= std::int64_t{1} << 20) return fmt::format("{:.1f} MiB", size / (1 << 20));
  return fmt::format("{} bytes", bytes);
}

std::string local_time() {
  return time_text("%Y-%m-%d %H:%M:%S", ::localtime_r);
}

std::string utc_time() {
  return time_text("%Y-%m-%dT%H:%M:%SZ", ::gmtime_r);
}

}  // namespace headroom
