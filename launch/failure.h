// Whatever went wrong, as the user is told it: one message, one hint, one exit code; alike on one rank and on many.
#pragma once

#include <string>

#include "base/error.h"

namespace headroom {

struct Failure {
  ExitCode code;
  std::string message;
  std::string hint;  // may be empty
};

// Of the exception that is being handled.
Failure current_failure();

// On standard error: "error: MESSAGE" and "hint: HINT". `who` ("rank 3: ") goes before the message.
void print_failure(const Failure& failure, const std::string& who = "");

}  // namespace headroom
