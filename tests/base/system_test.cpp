#include "base/system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace headroom {
namespace {

TEST(System, MemoryGrowsWithWhatIsTouched) {
  const std::int64_t before = resident_memory_bytes();
  EXPECT_GT(before, 0);
  const std::int64_t size = std::int64_t{64} << 20;
  {
    const std::vector<char> block(static_cast<std::size_t>(size), 1);
    EXPECT_GE(resident_memory_bytes(), before + size * 9 / 10) << block.back();
  }
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
