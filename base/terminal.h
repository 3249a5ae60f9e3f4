// The terminal that a stream goes to, if it goes to one.
#pragma once

#include <cstddef>
#include <cstdio>

namespace headroom {

// One that can move its cursor.
bool is_terminal(std::FILE* out);

struct TerminalSize {
  std::size_t columns;
  std::size_t rows;
};

// 80 x 24 where the terminal does not say.
TerminalSize terminal_size(std::FILE* out);

}  // namespace headroom
