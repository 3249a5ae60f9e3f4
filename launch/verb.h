// What one verb of the `headroom` command line is: `headroom VERB ...`. A verb lives in launch/VERB.cpp, declares its
// factory in launch/verbs.h and is listed in launch/verbs.cpp.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/error.h"

namespace headroom {

class Verb {
 public:
  Verb(std::string name, std::string summary) : name_(std::move(name)), summary_(std::move(summary)) {}
  virtual ~Verb() = default;
  Verb(const Verb&) = delete;
  Verb& operator=(const Verb&) = delete;

  const std::string& name() const { return name_; }
  // One line, shown by `headroom --help` and on top of `headroom VERB --help`.
  const std::string& summary() const { return summary_; }

  // Adds the verb's options to its subcommand, bound to the verb's own members; app.footer() may hold longer help.
  virtual void declare(CLI::App& app) = 0;

  // Called after the command line was parsed. Returns the process's exit status; failures are thrown as Error.
  virtual ExitCode run() = 0;

 private:
  std::string name_;
  std::string summary_;
};

}  // namespace headroom
