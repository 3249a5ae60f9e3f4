// No bit of a sealed file changes and no byte goes missing without being noticed.
#include "base/seal.h"

#include <gmock/gmock.h>
#include <xxhash.h>

#include <cstring>

#include "tests/base/file_size_limit.h"
#include "tests/base/write_failure.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

using test::content_of;
using test::Scratch;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Seals : public ::testing::Test {
 protected:
  fs::path sealed(const std::string& content) const {
    fs::path path = scratch_.file("sealed", content);
    seal_file(path);
    return path;
  }
  // What is said of a file whose seal does not hold.
  static std::string refusal(const fs::path& path) {
    try {
      verify_seal(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
      EXPECT_FALSE(error.hint().empty());
      EXPECT_THAT(error.what(), HasSubstr(path.string()));
      return error.what();
    }
    ADD_FAILURE() << "the seal holds";
    return "";
  }

  const Scratch scratch_;
};

TEST_F(Seals, AreATrailerOfMagicAndHash) {
  const std::string content = "some content";
  const std::string file = content_of(sealed(content));
  ASSERT_EQ(file.size(), content.size() + kSealBytes);
  EXPECT_EQ(file.substr(0, content.size()), content);
  EXPECT_EQ(file.substr(content.size(), 16), "headroom seal 1\n");
  std::uint64_t hash = 0;
  std::memcpy(&hash, file.data() + content.size() + 16, sizeof hash);
  EXPECT_EQ(hash, XXH64(content.data(), content.size(), 0));
}

TEST_F(Seals, HoldForFilesOfAnySize) {
  constexpr std::size_t kBlock = std::size_t{1} << 20;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kBlock - 1, kBlock, kBlock + 1, 3 * kBlock}) {
    EXPECT_NO_THROW(verify_seal(sealed(std::string(size, 'x')))) << size << " bytes";
  }
}

TEST_F(Seals, AnyFlippedBitBreaksThem) {
  const std::string good = content_of(sealed("four"));
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    const bool in_magic = bit / 8 >= 4 && bit / 8 < 20;
    EXPECT_THAT(refusal(scratch_.file("bad", bad)), HasSubstr(in_magic ? "no seal" : "damaged")) << "bit " << bit;
  }
}

TEST_F(Seals, AnyMissingEndBreaksThem) {
  const std::string good = content_of(sealed("four"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THAT(refusal(scratch_.file("bad", good.substr(0, size))), HasSubstr("truncated")) << size << " bytes";
  }
}

TEST_F(Seals, ADamagedByteFarInsideIsFound) {
  std::string file = content_of(sealed(std::string(5'000'000, 'x')));
  file[3'210'987] = 'y';
  EXPECT_THAT(refusal(scratch_.file("bad", file)), AllOf(HasSubstr("damaged"), HasSubstr("its seal says")));
}

TEST_F(Seals, FilesThatCannotBeReadAreRefused) {
  EXPECT_THAT(refusal(scratch_ / "missing"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(scratch_.path()), HasSubstr("directory"));
}

TEST_F(Seals, AFullDiskSaysSo) {
  const fs::path path = scratch_.file("file", std::string(100, 'x'));
  const test::FileSizeLimit limit(110);
  EXPECT_THAT(test::failure([&] { seal_file(path); }), HasSubstr("seal '" + path.string() + "': File too large"));
  EXPECT_THAT(test::failure([&] { seal_file(scratch_ / "gone/file"); }), HasSubstr("No such file"));
}

}  // namespace
}  // namespace headroom
