// Which Headroom this is: for `headroom --version` and the provenance of whatever a run writes.
#pragma once

#include <string>

namespace headroom {

// "0.1.0".
std::string version();

// The commit built, 12 hex digits, with "-dirty" when the tree had changes; "unknown" outside a git checkout.
std::string build_commit();

// "headroom 0.1.0 (commit 0123456789ab)".
std::string version_line();

}  // namespace headroom
