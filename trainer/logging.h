// What a run says while it runs: to the console and to a file a rank, through Boost.Log. Only trainer/ and launch/ log;
// the floors below throw.
//
//   2026-01-02 03:04:05 [0] info evaluation: loss 3.21
//
// The console (stderr) shows rank 0's messages and every rank's warnings and errors; the file holds all of its rank's.
// Messages that the file's disk does not take wait and are written later (base/patient_file.h); the console says when
// that begins and when it is over.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace headroom {

enum class Severity : std::uint8_t { trace, debug, info, warning, error };

// Logging for the lifetime of the object, of which there is one at a time. Without one, messages go nowhere.
class Logging {
 public:
  // `level` as in log.level; less severe messages are dropped. `directory` gets rank-00000.log; empty: no file.
  // Throws ExitCode::disk_full where the file cannot be opened, ExitCode::bad_config for an unknown level.
  Logging(int rank, const std::string& level, const std::filesystem::path& directory);
  ~Logging();
  Logging(const Logging&) = delete;
  Logging& operator=(const Logging&) = delete;
};

// One message, which may have several lines; each is a line of its own in the log. A file that cannot be written is no
// error here. Any thread may log.
void log_message(Severity severity, std::string_view text);

template <class... Arguments>
void log_debug(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_message(Severity::debug, fmt::format(format, std::forward<Arguments>(arguments)...));
}
template <class... Arguments>
void log_info(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_message(Severity::info, fmt::format(format, std::forward<Arguments>(arguments)...));
}
template <class... Arguments>
void log_warning(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_message(Severity::warning, fmt::format(format, std::forward<Arguments>(arguments)...));
}
template <class... Arguments>
void log_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  log_message(Severity::error, fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace headroom
