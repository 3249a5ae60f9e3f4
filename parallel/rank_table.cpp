// Who is where: the table of ranks that a run prints before it starts.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/system.h"
#include "parallel/rank_words.h"
#include "parallel/runtime.h"

namespace headroom {
namespace {

using Row = std::vector<std::string>;

struct Column {
  const char* name;
  bool right;  // numbers stand to the right, words to the left
};
constexpr std::array<Column, 8> kColumns = {{{"rank", true},
                                             {"data", true},
                                             {"tensor", true},
                                             {"host", false},
                                             {"pid", true},
                                             {"threads", true},
                                             {"cores", false},
                                             {"gpu", false}}};

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

// Columns as wide as their widest cell.
std::string aligned(const std::vector<Row>& rows) {
  std::array<std::size_t, kColumns.size()> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      line += kColumns[i].right ? fmt::format("{:>{}}", row[i], widths[i]) : fmt::format("{:<{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    table += table.empty() ? line : '\n' + line;
  }
  return table;
}

}  // namespace

std::string describe_ranks(Communicator& world, int tensor_size, int threads, const std::string& gpu) {
  const int rank = world.rank();
  std::vector<Row> rows = gather_words(
      world, {fmt::format("{}", rank), fmt::format("{}", rank / tensor_size), fmt::format("{}", rank % tensor_size),
              host_name(), fmt::format("{}", getpid()), fmt::format("{}", threads), cores(), gpu});
  if (rank != 0) return {};
  Row names;
  for (const Column& column : kColumns) names.emplace_back(column.name);
  rows.insert(rows.begin(), std::move(names));
  if (std::all_of(rows.begin() + 1, rows.end(), [](const Row& row) { return row.back().empty(); })) {
    for (Row& row : rows) row.pop_back();
  }
  return aligned(rows);
}

}  // namespace headroom
