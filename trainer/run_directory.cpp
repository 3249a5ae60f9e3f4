#include "trainer/run_directory.h"

#include "base/file.h"

namespace headroom {

RunDirectory RunDirectory::own(const std::filesystem::path& path, const LockTiming& timing) {
  RunDirectory directory(path);
  make_directories(path);
  directory.lock_ = std::make_unique<RunLock>(path, timing);
  for (const auto& folder : {directory.logs(), directory.tensorboard(), directory.snapshots(), directory.checkpoints(),
                             directory.report()}) {
    make_directories(folder);
  }
  return directory;
}

RunDirectory RunDirectory::join(const std::filesystem::path& path) {
  return RunDirectory(path);
}

}  // namespace headroom
