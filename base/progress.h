// How far a long task is, for the person waiting: one line that is rewritten with an ETA on a terminal, plain lines now
// and then anywhere else (a log must not fill with them).
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace headroom {

class Progress {
 public:
  // `total` units of work (0: unknown, no ETA). Prints to `out`, which must outlive the object. Nothing is printed
  // before the first `advance` or `set`.
  Progress(std::string label, std::uint64_t total, std::FILE* out = stderr);
  // Ends the line on a terminal, so that what is printed next (an error) begins on its own.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `count` more units are done; `text` is shown behind the numbers ("loss 3.21"). Prints at most ten times a second on
  // a terminal, every ten seconds elsewhere.
  void advance(std::uint64_t count, const std::string& text = {});
  // The same with the units done so far.
  void set(std::uint64_t done, const std::string& text = {});
  // Prints the last state with the time taken. Further calls do nothing.
  void finish(const std::string& text = {});

  // The line as it would be printed after `seconds` of work: label, share, ETA, text.
  std::string line(double seconds) const;

 private:
  void print(bool last);

  std::string label_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::string text_;
  std::FILE* out_;
  bool terminal_;
  bool open_line_ = false;  // a terminal line without its end
  bool finished_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point printed_;
};

// "45 s", "3 min 05 s", "2 h 04 min", "3 d 07 h".
std::string format_duration(double seconds);

}  // namespace headroom
