// The directory a corpus is built in: NAME.partial, locked against a second build, renamed to NAME when all is written.
#pragma once

#include <filesystem>
#include <vector>

#include "base/descriptor.h"

namespace headroom {

class CorpusDirectory {
 public:
  // Checks the target and makes an empty, locked NAME.partial. `sources` are files that must not lie in the target.
  // Throws ExitCode::usage when the target exists and may not be replaced, ExitCode::busy when another process
  // builds there, ExitCode::disk_full when the directory cannot be made.
  CorpusDirectory(const std::filesystem::path& target, bool overwrite,
                  const std::vector<std::filesystem::path>& sources);
  // Removes an unfinished NAME.partial; what a killed build leaves, the next one removes.
  ~CorpusDirectory();
  CorpusDirectory(const CorpusDirectory&) = delete;
  CorpusDirectory& operator=(const CorpusDirectory&) = delete;

  const std::filesystem::path& partial() const { return partial_; }

  // Moves the directory into place, in one step also where it replaces another corpus.
  void publish();

 private:
  std::filesystem::path target_;
  std::filesystem::path partial_;
  Descriptor lock_;
  bool published_ = false;
};

}  // namespace headroom
