// Exit statuses as people read them.
#pragma once

#include <string>

namespace headroom::campaign {

// "exit code 6 (diverged)", "ended by signal 9".
std::string exit_words(int status);

}  // namespace headroom::campaign
