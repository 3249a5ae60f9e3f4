// A job of ranks that a test starts, watches and kills.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/launch/program.h"

namespace headroom::test {

class Job {
 public:
  // Starts `headroom ARGUMENTS` on so many ranks; what it says goes to `log`.
  Job(int ranks, const std::string& arguments, std::filesystem::path log);
  // Kills what is left.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // The ranks' processes that are there now.
  std::vector<pid_t> ranks() const;
  // Waits until `condition` holds or the job has ended; looks every half millisecond. Whether it held.
  bool wait_until(const std::function<bool()>& condition);
  // Ends one rank, or every process of the job, with SIGKILL.
  void kill_rank(std::size_t which);
  void kill_all();
  // Waits for the end, at most `seconds`: exit status (128 + n for signal n) and what was said. A job that is still
  // there then is killed and has status -1.
  Outcome wait(double seconds);

 private:
  bool ended();

  std::filesystem::path log_;
  pid_t launcher_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

}  // namespace headroom::test
