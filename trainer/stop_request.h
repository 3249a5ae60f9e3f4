// Being asked to stop: SIGTERM, SIGINT and a signal of the user's choice set a flag and nothing else. Whatever can take
// long looks at it now and then; ranks, which a signal reaches at different moments, agree before they act on it.
#pragma once

#include <cstdint>
#include <string>
#include <thread>

#include "base/descriptor.h"
#include "parallel/communicator.h"

namespace headroom {

enum class StopSignal : std::uint8_t { none, usr1, usr2 };

// Handles the signals while it lives, one at a time in a process. The first one sets the flag. A second SIGINT,
// from somebody at a keyboard, ends the process at once, with the shell's 128 + signal; other signals may come again
// and again, from schedulers and scripts, and must not cut short the checkpoint that the first one asked for.
//
// A thread of its own takes them. The threads that compute block them: oneDNN's matrix products point the stack pointer
// into their workspace on the heap, and what the kernel writes below it to call a handler there would overwrite
// whatever lies before. Threads of MPI may still be given one, on their own stacks.
class StopRequests {
 public:
  explicit StopRequests(StopSignal user_signal);
  ~StopRequests();
  StopRequests(const StopRequests&) = delete;
  StopRequests& operator=(const StopRequests&) = delete;

 private:
  void listen() const;

  StopSignal user_signal_;
  Descriptor arrivals_;
  Descriptor ending_;  // readable when the listener is to end
  std::thread listener_;
};

// Whether this process was asked.
bool stop_requested();

// Whether any rank of the group was. Collective; the same on every rank.
bool stop_agreed(Communicator& group);

// The name of the signal that this process got, "SIGTERM"; "another rank's signal" where none came.
std::string stop_signal_name();

}  // namespace headroom
