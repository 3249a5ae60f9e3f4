// A directory that all ranks of a test share, gone at its end.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "parallel/agreement.h"

namespace headroom {

class SharedDirectory {
 public:
  explicit SharedDirectory(Communicator& world) : world_(&world) {
    path_ = on_root(world, [] {
      std::string name = (std::filesystem::temp_directory_path() / "headroom-shared-XXXXXX").string();
      EXPECT_NE(mkdtemp(name.data()), nullptr);
      return name;
    });
  }
  ~SharedDirectory() {
    world_->barrier();
    if (world_->rank() == 0) std::filesystem::remove_all(path_);
  }
  SharedDirectory(const SharedDirectory&) = delete;
  SharedDirectory& operator=(const SharedDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  Communicator* world_;
  std::filesystem::path path_;
};

}  // namespace headroom
