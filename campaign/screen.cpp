#include "campaign/screen.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>

#include "base/activity.h"

namespace headroom::campaign {

Screen::Screen(std::FILE* out) : out_(out), terminal_(::isatty(::fileno(out)) == 1) {}

void Screen::show(const std::string& table, const std::string& line, const std::string& changed) {
  if (terminal_) {
    if (height_ > 0) fmt::print(out_, "\033[{}A\033[J", height_);
    fmt::print(out_, "{}\n{}\n", table, line);
    height_ = 2 + static_cast<int>(std::count(table.begin(), table.end(), '\n'));
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
