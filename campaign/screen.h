// A table that is rewritten in place on a terminal; anywhere else, a line when something has changed.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace headroom::campaign {

class Screen {
 public:
  explicit Screen(std::FILE* out = stdout);

  // `table` and `line` on a terminal. Elsewhere `line` alone, where it differs from the last one, and at most every
  // 15 s unless `changed`, which is whatever a reader of a log should not miss.
  void show(const std::string& table, const std::string& line, const std::string& changed);

 private:
  std::FILE* out_;
  bool terminal_;
  std::size_t height_ = 0;  // lines that are on the screen
  std::string last_line_;
  std::string last_changed_;
  double printed_ = -1e9;  // seconds
};

}  // namespace headroom::campaign
