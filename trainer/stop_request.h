// Being asked to stop: SIGTERM, SIGINT and a signal of the user's choice set a flag and nothing else. Whatever can take
// long looks at it now and then; ranks, which a signal reaches at different moments, agree before they act on it.
#pragma once

#include <cstdint>
#include <string>

#include "parallel/communicator.h"

namespace headroom {

enum class StopSignal : std::uint8_t { none, usr1, usr2 };

// Handles the signals while it lives, one at a time in a process. The first one sets the flag. A second SIGINT,
// from somebody at a keyboard, ends the process at once, with the shell's 128 + signal; other signals may come again and
// again, from schedulers and scripts, and must not cut short the checkpoint that the first one asked for.
class StopRequests {
 public:
  explicit StopRequests(StopSignal user_signal);
  ~StopRequests();
  StopRequests(const StopRequests&) = delete;
  StopRequests& operator=(const StopRequests&) = delete;
};

// Whether this process was asked.
bool stop_requested();

// Whether any rank of the group was. Collective; the same on every rank.
bool stop_agreed(Communicator& group);

// The name of the signal that this process got, "SIGTERM"; "another rank's signal" where none came.
std::string stop_signal_name();

}  // namespace headroom
