// One exception type for everything that can go wrong, so that the top of the program can turn any
// failure into a message a person can act on and an exit code a scheduler can act on.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace headroom {

// The process's exit status. Documented in docs/exit-codes.md; a scheduler's requeue rules rely on the values.
enum class ExitCode : int {
  done = 0,
  internal = 1,        // a broken invariant: a bug in Headroom
  usage = 2,           // unknown verb, flag or missing argument
  bad_config = 3,      // a key, type or value in a config
  bad_data = 4,        // corpus, tokenizer or text files
  bad_checkpoint = 5,  // checkpoints and snapshots
  diverged = 6,        // non-finite loss or gradients
  communication = 7,   // MPI or NCCL
  out_of_memory = 8,   //
  disk_full = 9,       // no space, read-only or vanished directory
  busy = 10,           // the run directory belongs to another run
  requeue = 75,        // stopped by a signal, checkpointed: start it again (EX_TEMPFAIL of sysexits.h)
};

// "diverged", or "" for a number that is none of these.
const char* name_of(ExitCode code);

// What went wrong (`what()`), the exit code it stands for, and what the user can do about it (`hint()`, may be empty).
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message, std::string hint = {})
      : std::runtime_error(message), code_(code), hint_(std::move(hint)) {}

  ExitCode code() const { return code_; }
  const std::string& hint() const { return hint_; }

 private:
  ExitCode code_;
  std::string hint_;
};

// Throws ExitCode::internal naming the expression and place.
[[noreturn]] void fail_check(const char* expression, const char* file, int line, const std::string& message);

}  // namespace headroom

// An invariant of our own code; stays on in release builds. The condition has no side effects.
//   HEADROOM_CHECK(a.rows() == b.rows(), "a has {} rows, b has {}", a.rows(), b.rows());
#define HEADROOM_CHECK(condition, ...)                                                    \
  do {                                                                                    \
    if (!(condition)) [[unlikely]]                                                        \
      ::headroom::fail_check(#condition, __FILE__, __LINE__, ::fmt::format(__VA_ARGS__)); \
  } while (false)
