// Who is where: the table of ranks that a run prints before it starts.
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "parallel/runtime.h"

namespace headroom {
namespace {

std::string host() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

// Cores this process may run on, as ranges: "0-3,8".
std::string cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "unknown";
  std::string text;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(static_cast<std::size_t>(core), &set)) continue;
    int last = core;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(static_cast<std::size_t>(last + 1), &set)) ++last;
    const std::string range = last == core ? fmt::format("{}", core) : fmt::format("{}-{}", core, last);
    text += text.empty() ? range : "," + range;
    core = last;
  }
  return text;
}

}  // namespace

std::string describe_ranks(Communicator& world, int tensor_size, int threads) {
  const int rank = world.rank();
  const std::string row = fmt::format("{:>5}  {:>4} x {:<4}  {:<24}  {:>8}  {:>7}  {}", rank, rank / tensor_size,
                                      rank % tensor_size, host(), getpid(), threads, cores());
  const auto rows = world.gather_bytes(std::as_bytes(std::span<const char>(row.data(), row.size())), 0);
  if (rank != 0) return {};
  std::string table = fmt::format("{:>5}  {:<11}  {:<24}  {:>8}  {:>7}  {}", "rank", "data x tens", "host", "pid",
                                  "threads", "cores");
  for (const auto& bytes : rows) {
    table += '\n';
    table.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return table;
}

}  // namespace headroom
