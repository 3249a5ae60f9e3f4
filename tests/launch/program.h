// Running `headroom` as a user does, and a small corpus and config to run it on.
#pragma once

#include <string>
#include <vector>

#include "tests/scratch.h"

namespace headroom::test {

struct Outcome {
  int status;          // exit status; 128 + n when signal n ended it
  std::string output;  // both streams
};

// A command line of the shell.
Outcome shell(const std::string& command);

// `headroom ARGUMENTS`, alone or as so many ranks.
Outcome headroom(const std::string& arguments);
Outcome headroom_ranks(int ranks, const std::string& arguments);

// A directory with a corpus and a config of a model that trains in a second: three layers of width 32, 4 heads.
class Workspace {
 public:
  Workspace();

  std::filesystem::path operator/(const std::string& name) const { return scratch_ / name; }
  std::filesystem::path run(const std::string& name) const { return scratch_ / ("runs/" + name); }
  std::filesystem::path file(const std::string& name, const std::string& content) const {
    return scratch_.file(name, content);
  }

  // Writes NAME.toml: the common keys, included, and `more`, which may override them; gives its path. The run is called
  // NAME.
  std::string config(const std::string& name, const std::string& more = "") const;

 private:
  Scratch scratch_;
};

// Lines of a run's metrics that are steps.
int steps_in(const std::filesystem::path& run);

// Everything that a run recorded of its steps, a line a step, but times, memory and what depends on them; and what it
// left out on its way.
std::vector<std::string> results_of(const std::filesystem::path& run);

// The newest checkpoint of a run against that of another, as `headroom inspect --against` sees them.
Outcome compare_checkpoints(const std::filesystem::path& run, const std::filesystem::path& other,
                            const std::string& options = "");

}  // namespace headroom::test
