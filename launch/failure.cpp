#include "launch/failure.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>
#include <system_error>

namespace headroom {
namespace {

// Disk trouble deserves its own code wherever it shows up: a scheduler must not restart such a run at once.
bool is_disk_full(const std::error_code& code) {
  return code == std::errc::no_space_on_device || code == std::errc::read_only_file_system ||
         code == std::error_code(EDQUOT, std::generic_category());
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what(), error.hint()};
  } catch (const std::bad_alloc&) {
    return {ExitCode::out_of_memory, "out of memory",
            "Lower train.micro_batch or train.loss_chunk, or set train.recompute = \"block\"."};
  } catch (const std::system_error& error) {  // std::filesystem's errors too
    if (!is_disk_full(error.code())) return {ExitCode::internal, error.what(), ""};
    return {ExitCode::disk_full, error.what(), "Free some space, or point the output to another file system."};
  } catch (const std::exception& error) {
    return {ExitCode::internal, error.what(), ""};
  }
}

void print_failure(const Failure& failure, const std::string& who) {
  std::fflush(stdout);
  fmt::print(stderr, "error: {}{}\n", who, failure.message);
  if (!failure.hint.empty()) fmt::print(stderr, "hint: {}\n", failure.hint);
  std::fflush(stderr);
}

}  // namespace headroom
