#include "base/system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace headroom {
namespace {

TEST(System, MemoryGrowsWithWhatIsTouched) {
  const std::int64_t before = resident_memory_bytes();
  EXPECT_GT(before, 0);
  const std::int64_t size = std::int64_t{64} << 20;
  // From the kernel and back to it: an allocator (a sanitizer's, too) may keep what is freed.
  void* block =
      ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, static_cast<std::size_t>(size));
  EXPECT_GE(resident_memory_bytes(), before + size * 9 / 10);
  ::munmap(block, static_cast<std::size_t>(size));
  EXPECT_LT(resident_memory_bytes(), before + size / 2);
  EXPECT_GE(peak_memory_bytes(), before + size * 9 / 10);  // the peak stays
}

TEST(System, NamesAndTimes) {
  EXPECT_NE(host_name(), "");
  EXPECT_THAT(local_time(),
              ::testing::MatchesRegex("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]"));
  EXPECT_THAT(utc_time(),
              ::testing::MatchesRegex("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z"));
}

TEST(System, AvailableMemoryIsLessThanTheHostHas) {
  const std::int64_t available = available_memory_bytes();
  EXPECT_GT(available, 0);
  EXPECT_LT(available, sysconf(_SC_PHYS_PAGES) * std::int64_t{sysconf(_SC_PAGESIZE)});
}

TEST(System, MemoryIsWrittenInUnitsThatPeopleRead) {
  EXPECT_EQ(memory_text(0), "0 bytes");
  EXPECT_EQ(memory_text((std::int64_t{1} << 20) - 1), "1048575 bytes");
  EXPECT_EQ(memory_text(std::int64_t{3} << 19), "1.5 MiB");
  EXPECT_EQ(memory_text(std::int64_t{5} << 29), "2.5 GiB");
}

}  // namespace
}  // namespace headroom
