// Who is where: the table of ranks that a run prints before it starts.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/system.h"
#include "parallel/runtime.h"

namespace headroom {
namespace {

constexpr std::size_t kColumns = 7;
using Row = std::array<std::string, kColumns>;

// Cores this process may run on, as ranges: "0-3,8".
std::string cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "unknown";
  const auto usable = [&](int core) { return core < CPU_SETSIZE && CPU_ISSET(static_cast<std::size_t>(core), &set); };
  std::string text;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!usable(core)) continue;
    int last = core;
    while (usable(last + 1)) ++last;
    const std::string range = last == core ? fmt::format("{}", core) : fmt::format("{}-{}", core, last);
    text += text.empty() ? range : "," + range;
    core = last;
  }
  return text;
}

std::string joined(const Row& row) {
  std::string text;
  for (const std::string& cell : row) text += cell + '\n';
  return text;
}

Row parted(const std::vector<std::byte>& bytes) {
  Row row;
  std::size_t column = 0;
  for (const std::byte byte : bytes) {
    const char letter = static_cast<char>(byte);
    if (letter == '\n') {
      ++column;
    } else {
      row[column] += letter;
    }
  }
  return row;
}

// Columns as wide as their widest cell; numbers to the right, words to the left.
std::string aligned(const std::vector<Row>& rows) {
  constexpr std::array<bool, kColumns> kRight = {true, true, true, false, true, true, false};
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < kColumns; ++i) {
      if (i > 0) line += "  ";
      line += kRight[i] ? fmt::format("{:>{}}", row[i], widths[i]) : fmt::format("{:<{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    table += table.empty() ? line : '\n' + line;
  }
  return table;
}

}  // namespace

std::string describe_ranks(Communicator& world, int tensor_size, int threads) {
  const int rank = world.rank();
  const std::string own =
      joined({fmt::format("{}", rank), fmt::format("{}", rank / tensor_size), fmt::format("{}", rank % tensor_size),
              host_name(), fmt::format("{}", getpid()), fmt::format("{}", threads), cores()});
  const auto messages = world.gather_bytes(std::as_bytes(std::span<const char>(own)), 0);
  if (rank != 0) return {};
  std::vector<Row> rows = {{"rank", "data", "tensor", "host", "pid", "threads", "cores"}};
  for (const auto& message : messages) rows.push_back(parted(message));
  return aligned(rows);
}

}  // namespace headroom
