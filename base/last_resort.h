// An end that nothing can hold up, for a process whose orderly end may itself hang.
#pragma once

namespace headroom {

// Ends this process with this status when so many seconds have passed, unless it has ended by then: without flushing or
// destroying anything. A later call replaces an earlier one. From any thread. Uses the process's alarm (SIGALRM).
void end_process_within(unsigned seconds, int status);

}  // namespace headroom
