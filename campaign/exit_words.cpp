#include "campaign/exit_words.h"

#include <fmt/format.h>

#include "base/error.h"

namespace headroom::campaign {

std::string exit_words(int status) {
  constexpr int kSignals = 128;
  constexpr int kLastSignal = 64;  // beyond it a launcher speaks for itself
  if (status > kSignals && status <= kSignals + kLastSignal)
    return fmt::format("ended by signal {}", status - kSignals);
  const std::string name = name_of(static_cast<ExitCode>(status));
  return name.empty() ? fmt::format("exit code {}", status) : fmt::format("exit code {} ({})", status, name);
}

}  // namespace headroom::campaign
