// Files that cannot be written or read say so.
#include "data/file_io.h"

#include "tests/data/support.h"

namespace headroom {
namespace {

using test::content_of;
using test::expect_error;
using test::Scratch;

TEST(FileWriter, WritesInOrderAndOverTheFront) {
  const Scratch scratch;
  std::string expected;
  FileWriter writer(scratch / "a");
  for (std::size_t size : {1, 1000, 3'000'000, 7, 1 << 20, 0, 13}) {
    const std::string block(size, static_cast<char>('a' + size % 26));
    writer.write(block.data(), block.size());
    expected += block;
  }
  writer.write_at_front("XY", 2);
  expected.replace(0, 2, "XY");
  EXPECT_EQ(writer.written(), expected.size());
  writer.close();
  EXPECT_EQ(content_of(scratch / "a"), expected);
}

TEST(FileWriter, AFullDiskIsAnError) {
  ASSERT_TRUE(std::filesystem::exists("/dev/full"));
  FileWriter writer("/dev/full");
  const std::string block(3 << 20, 'x');
  expect_error([&] { writer.write(block.data(), block.size()); }, ExitCode::disk_full, {"/dev/full", "No space"});
}

TEST(FileWriter, AMissingDirectoryIsAnError) {
  const Scratch scratch;
  expect_error([&] { FileWriter(scratch / "no/such"); }, ExitCode::disk_full, {"no/such"});
}

TEST(WriteFile, ReplacesWholly) {
  const Scratch scratch;
  write_file(scratch / "a", "first");
  write_file(scratch / "a", "second");
  EXPECT_EQ(read_file(scratch / "a"), "second");
  EXPECT_FALSE(std::filesystem::exists(scratch / "a.partial"));
}

}  // namespace
}  // namespace headroom
