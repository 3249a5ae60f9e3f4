#include "campaign/screen.h"

#include <fmt/core.h>

#include <algorithm>
#include <sstream>

#include "base/activity.h"
#include "base/terminal.h"

namespace headroom::campaign {
namespace {

// What would wrap or scroll away could not be rewritten: lines are cut at the terminal's width, and of those that do
// not fit under each other it says how many there are.
std::vector<std::string> fitting(const std::string& text, const TerminalSize& size, std::size_t rows) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line.substr(0, size.columns - 1));
  if (lines.size() > rows) {
    const std::size_t hidden = lines.size() - rows + 1;
    lines.resize(rows - 1);
    lines.push_back(fmt::format("... and {} more", hidden));
  }
  return lines;
}

}  // namespace

Screen::Screen(std::FILE* out) : out_(out), terminal_(is_terminal(out)) {}

void Screen::show(const std::string& table, const std::string& line, const std::string& changed) {
  if (terminal_) {
    const TerminalSize size = terminal_size(out_);
    std::vector<std::string> lines = fitting(table, size, std::max<std::size_t>(size.rows, 6) - 3);
    lines.push_back("");
    for (const std::string& one : fitting(line, size, 1)) lines.push_back(one);
    if (height_ > 0) fmt::print(out_, "\033[{}A\033[J", height_);
    for (const std::string& one : lines) fmt::print(out_, "{}\n", one);
    height_ = lines.size();
  } else {
    constexpr double kInterval = 15.0;  // a log should not fill with progress
    const double now = activity_seconds();
    const bool news = changed != last_changed_;
    if (line == last_line_ || (!news && now < printed_ + kInterval)) return;
    fmt::print(out_, "{}\n", line);
    last_line_ = line;
    last_changed_ = changed;
    printed_ = now;
  }
  std::fflush(out_);
}

}  // namespace headroom::campaign
