#include "base/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/terminal.h"

namespace headroom {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTerminalInterval{100};
constexpr std::chrono::seconds kPlainInterval{10};

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::max(0.0, std::ceil(seconds)));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  return fmt::format("{} d {:02} h", whole / 86400, whole % 86400 / 3600);
}

Progress::Progress(std::string label, std::uint64_t total, std::FILE* out)
    : label_(std::move(label)),
      total_(total),
      out_(out),
      terminal_(is_terminal(out)),
      start_(Clock::now()),
      printed_(terminal_ ? start_ - kTerminalInterval : start_) {}

Progress::~Progress() {
  if (open_line_) std::fputc('\n', out_);
}

void Progress::advance(std::uint64_t count, const std::string& text) {
  set(done_ + count, text);
}

void Progress::set(std::uint64_t done, const std::string& text) {
  if (finished_) return;
  done_ = total_ > 0 ? std::min(done, total_) : done;
  text_ = text;
  const Clock::duration interval = terminal_ ? Clock::duration(kTerminalInterval) : Clock::duration(kPlainInterval);
  if (Clock::now() - printed_ >= interval) print(false);
}

void Progress::finish(const std::string& text) {
  if (finished_) return;
  text_ = text;
  print(true);
  finished_ = true;
}

std::string Progress::line(double seconds) const {
  std::string line = label_;
  if (total_ > 0) {
    const double share = static_cast<double>(done_) / static_cast<double>(total_);
    line += fmt::format("  {:3.0f} %", std::floor(100.0 * share));
    if (done_ > 0 && done_ < total_) line += "  ETA " + format_duration(seconds * (1.0 - share) / share);
  }
  if (!text_.empty()) line += "  " + text_;
  return line;
}

void Progress::print(bool last) {
  const Clock::time_point now = Clock::now();
  printed_ = now;
  const double seconds = seconds_between(start_, now);
  std::string shown = line(seconds);
  if (last) {
    shown = fmt::format("{}  done in {:.1f} s{}{}", label_, seconds, text_.empty() ? "" : "  ", text_);
  }
  if (terminal_) {
    // A line that wraps could not be rewritten. (Longer in bytes than in columns at worst: then it is cut early.)
    if (!last && shown.size() >= terminal_size(out_).columns) shown.resize(terminal_size(out_).columns - 1);
    fmt::print(out_, "\r{}\x1b[K{}", shown, last ? "\n" : "");
    open_line_ = !last;
  } else {
    fmt::print(out_, "{}\n", shown);
  }
  std::fflush(out_);
}

}  // namespace headroom
