// Ranks that fail together: what one rank finds wrong, every rank throws, so that none waits for another that has left.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "parallel/communicator.h"

namespace headroom {

// Runs `work` on rank 0 and returns its text on every rank; what it throws, every rank throws (what is no Error as
// ExitCode::internal). Collective.
std::string on_root(Communicator& group, const std::function<std::string()>& work);

// Runs `work` on every rank. When it throws on some, every rank throws that of the lowest such rank.
// Collective after `work`, which must not communicate.
void on_all(Communicator& group, const std::function<void()>& work);

// The same as a value: the Error of the lowest rank that passes one, or nothing. Collective.
std::optional<Error> first_failure(Communicator& group, const std::optional<Error>& own);

}  // namespace headroom
