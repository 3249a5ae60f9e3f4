// Large files keep their order, and a full disk is noticed.
#include "base/file_writer.h"

#include <gmock/gmock.h>

#include "tests/base/write_failure.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

using test::content_of;
using test::failure;
using test::Scratch;
using ::testing::HasSubstr;

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

TEST(FileWriter, AFullDiskIsAnErrorThatNamesTheFile) {
  FileWriter writer("/dev/full");
  const std::string block(3 << 20, 'x');
  EXPECT_THAT(failure([&] { writer.write(block.data(), block.size()); }),
              testing::AllOf(HasSubstr("/dev/full"), HasSubstr("No space")));
}

TEST(FileWriter, AMissingDirectoryIsAnError) {
  const Scratch scratch;
  EXPECT_THAT(failure([&] { FileWriter(scratch / "no/such"); }), HasSubstr("no/such"));
}

}  // namespace
}  // namespace headroom
