// The call stacks of a process's own threads, for a process that hangs and is about to be ended.
#pragma once

#include <string>

namespace headroom {

// Gets ready: takes a real-time signal that nobody handles, and loads what unwinding needs, so that a thread that is
// interrupted allocates nothing. Once a process is enough; more calls do nothing. Throws ExitCode::internal when the
// system refuses. From any thread.
void prepare_stacks();

// The stacks of all other threads, innermost call first, each under a heading with the thread's id, name and state. The
// threads are interrupted one after another, and a call of theirs that waits may return with EINTR: only for a process
// that has nothing more to lose. A thread that does not answer within `seconds` (it is blocked in the kernel, or blocks
// signals) is named without a stack. Functions of this program have names if it exports its symbols; others are given
// by file and offset, for addr2line. Calls prepare_stacks. One thread at a time.
std::string stacks_of_other_threads(double seconds = 0.5);

}  // namespace headroom
