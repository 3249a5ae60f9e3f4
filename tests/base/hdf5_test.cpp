// HDF5 files: what goes in comes out, and everything that can go wrong says so by the right exit code.
#include "base/hdf5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>

#include "base/error.h"

namespace headroom {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Hdf5Test : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "hdf5_test_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path file(const std::string& name = "file.h5") const { return directory_ / name; }

  std::filesystem::path directory_;
};

// The Error that `action` throws; a test failure if it throws none.
Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return {ExitCode::done, ""};
}

void write_sample(const std::filesystem::path& path) {
  H5File out = H5File::create(path);
  out.write<float>("group/floats", std::vector<float>{1.5f, -2.0f, 3.0f, 4.0f, 5.0f, 6.25f}, {2, 3});
  out.write<std::int32_t>("ints", std::vector<std::int32_t>{-7, 11}, {2});
  out.commit();
}

TEST_F(Hdf5Test, EveryTypeComesBackWithItsShape) {
  const std::vector<float> f32 = {1.5f, -2.0f, 3e38f};
  const std::vector<double> f64 = {1e-300, 0.1, -4.0, 5.0, 6.0, 7.0};
  const std::vector<std::int32_t> i32 = {-2147483647, 5};
  const std::vector<std::int64_t> i64 = {std::int64_t{1} << 62};
  const std::vector<std::uint8_t> u8 = {0, 255, 7};
  {
    H5File out = H5File::create(file());
    out.write(std::string("a/b/f32"), f32, {3});
    out.write(std::string("a/f64"), f64, {1, 2, 3});
    out.write(std::string("i32"), i32, {2, 1});
    out.write(std::string("i64"), i64, {});
    out.write(std::string("u8"), u8, {3});
    out.write(std::string("empty"), std::vector<float>{}, {0, 4});
    out.commit();
  }
  const H5File in = H5File::open(file());
  EXPECT_EQ(in.read<float>("a/b/f32").values, f32);
  EXPECT_EQ(in.read<double>("a/f64").values, f64);
  EXPECT_THAT(in.read<double>("a/f64").dims, ElementsAre(1, 2, 3));
  EXPECT_EQ(in.read<std::int32_t>("i32", {2, 1}), i32);
  EXPECT_EQ(in.read<std::int64_t>("i64").values, i64);
  EXPECT_EQ(in.read<std::uint8_t>("u8").values, u8);
  EXPECT_THAT(in.dims("empty"), ElementsAre(0, 4));
  EXPECT_TRUE(in.read<float>("empty").values.empty());
  EXPECT_THAT(in.children("/"), ElementsAre("a", "empty", "i32", "i64", "u8"));
  EXPECT_EQ(in.type("u8"), H5Type::u8);
  EXPECT_TRUE(in.contains("a/b/f32"));
  EXPECT_FALSE(in.contains("a/c/f32"));
  EXPECT_TRUE(in.contains("/"));
}

TEST_F(Hdf5Test, TextIsUtf8OfAnyLength) {
  const std::vector<std::string> words = {"▁Summer", "", std::string(70000, 'x'), "<0x0A>", std::string("a\0b", 3)};
  {
    H5File out = H5File::create(file());
    out.write_text("words", words, {5, 1});
    out.commit();
  }
  const auto read = H5File::open(file()).read_text("words");
  EXPECT_THAT(read.values, ElementsAre(words[0], "", words[2], "<0x0A>", "a\u2400b"));
  EXPECT_THAT(read.dims, ElementsAre(5, 1));
}

TEST_F(Hdf5Test, AttributesOfRootGroupAndDataset) {
  const std::string config(100000, 'c');  // more than an object header holds
  {
    H5File out = H5File::create(file());
    out.write("g/x", std::vector<float>{1.0f}, {1});
    out.set_attribute("/", "format", std::string("headroom"));
    out.set_attribute("g", "config", config);
    out.set_attribute("g", "step", std::int64_t{12345678901});
    out.set_attribute("g/x", "seconds", 0.25);
    out.set_attribute("g/x", "edges", std::vector<double>{0.5, 1.0, 2.0});
    out.commit();
  }
  const H5File in = H5File::open(file());
  EXPECT_EQ(in.text_attribute("/", "format"), "headroom");
  EXPECT_EQ(in.text_attribute("g", "config"), config);
  EXPECT_EQ(in.int_attribute("g", "step"), 12345678901);
  EXPECT_EQ(in.real_attribute("g/x", "seconds"), 0.25);
  EXPECT_THAT(in.reals_attribute("g/x", "edges"), ElementsAre(0.5, 1.0, 2.0));
  EXPECT_TRUE(in.has_attribute("g", "step"));
  EXPECT_FALSE(in.has_attribute("g", "steps"));
  EXPECT_THAT(error_of([&] { in.int_attribute("g", "steps"); }).what(), HasSubstr("g@steps"));
  EXPECT_THAT(error_of([&] { in.int_attribute("g", "config"); }).what(), HasSubstr("holds string, expected int64"));
  EXPECT_EQ(error_of([&] { in.real_attribute("g/x", "edges"); }).code(), ExitCode::bad_checkpoint);
}

TEST_F(Hdf5Test, SlabsMakeUpTheWhole) {
  std::vector<float> whole(5 * 7);
  std::iota(whole.begin(), whole.end(), 0.0f);
  {
    H5File out = H5File::create(file());
    out.reserve<float>("m", {5, 7});
    for (std::int64_t column = 0; column < 7; column += 3) {  // 3, 3 and 1 columns
      const std::int64_t count = std::min<std::int64_t>(3, 7 - column);
      std::vector<float> part;
      for (std::int64_t row = 0; row < 5; ++row) {
        for (std::int64_t c = column; c < column + count; ++c) part.push_back(static_cast<float>(row * 7 + c));
      }
      out.write_slab<float>("m", part, {0, column}, {5, count});
    }
    out.commit();
  }
  const H5File in = H5File::open(file());
  EXPECT_EQ(in.read<float>("m").values, whole);
  std::vector<float> slab(2 * 2);
  in.read_slab<float>("m", slab, {3, 5}, {2, 2});
  EXPECT_THAT(slab, ElementsAre(26.0f, 27.0f, 33.0f, 34.0f));
  const Error error = error_of([&] { in.read_slab<float>("m", slab, {4, 5}, {2, 2}); });
  EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
  EXPECT_THAT(error.what(), HasSubstr("has shape [5, 7]; there is no slab [2, 2] at [4, 5]"));
}

TEST_F(Hdf5Test, AFileHasItsNameOnlyAfterCommit) {
  {
    H5File out = H5File::create(file());
    EXPECT_TRUE(std::filesystem::exists(file("file.h5.partial")));
    EXPECT_FALSE(std::filesystem::exists(file()));
  }  // abandoned
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
  write_sample(file());
  EXPECT_TRUE(std::filesystem::exists(file()));
  EXPECT_FALSE(std::filesystem::exists(file("file.h5.partial")));
}

TEST_F(Hdf5Test, MissingForeignAndTruncatedFilesAreNamed) {
  const Error missing = error_of([&] { H5File::open(file("none.h5")); });
  EXPECT_EQ(missing.code(), ExitCode::bad_checkpoint);
  EXPECT_THAT(missing.what(), HasSubstr("none.h5: cannot open: No such file"));

  std::ofstream(file("text.h5")) << "not at all";
  const Error foreign = error_of([&] { H5File::open(file("text.h5")); });
  EXPECT_EQ(foreign.code(), ExitCode::bad_checkpoint);
  EXPECT_THAT(foreign.what(), HasSubstr("text.h5: not an HDF5 file"));

  std::ofstream(file("empty.h5")) << "";
  EXPECT_EQ(error_of([&] { H5File::open(file("empty.h5")); }).code(), ExitCode::bad_checkpoint);

  write_sample(file());
  for (const std::uintmax_t keep : {std::filesystem::file_size(file()) - 1, std::uintmax_t{200}, std::uintmax_t{20}}) {
    write_sample(file());
    std::filesystem::resize_file(file(), keep);
    EXPECT_EQ(error_of([&] { H5File::open(file()); }).code(), ExitCode::bad_checkpoint) << keep << " bytes kept";
  }
}

TEST_F(Hdf5Test, WrongObjectsAreNamedWithHdf5sReasonAndNothingOnStderr) {
  write_sample(file());
  const H5File in = H5File::open(file());
  ::testing::internal::CaptureStderr();
  const Error missing = error_of([&] { in.read<float>("group/nothing"); });
  EXPECT_EQ(missing.code(), ExitCode::bad_checkpoint);
  EXPECT_THAT(missing.what(), HasSubstr("file.h5: cannot find the dataset `group/nothing`"));
  EXPECT_THAT(missing.what(), HasSubstr("doesn't exist"));
  EXPECT_THAT(error_of([&] { in.read<double>("group/floats"); }).what(),
              HasSubstr("`group/floats` holds float32, expected float64"));
  EXPECT_THAT(error_of([&] {
                in.read<float>("group/floats", {3, 2});
              }).what(),
              HasSubstr("has shape [2, 3], expected [3, 2]"));
  EXPECT_THAT(error_of([&] { in.read<float>("group"); }).what(), HasSubstr("`group`"));
  EXPECT_THAT(error_of([&] { in.read_text("ints"); }).what(), HasSubstr("holds int32, expected string"));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(Hdf5Test, AMissingDirectoryIsNoPlaceToWrite) {
  const Error error = error_of([&] { H5File::create(directory_ / "gone" / "file.h5"); });
  EXPECT_EQ(error.code(), ExitCode::disk_full);
  EXPECT_THAT(error.what(), HasSubstr("No such file or directory"));
}

// A damaged header may claim any shape; believing it would end as "out of memory".
TEST_F(Hdf5Test, AShapeThatTheFileCannotHoldIsRefused) {
  {
    H5File out = H5File::create(file());
    out.reserve<float>("claims", {std::int64_t{1} << 40});
    out.commit();
  }
  const H5File in = H5File::open(file());
  const Error error = error_of([&] { in.read<float>("claims"); });
  EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
  EXPECT_THAT(error.what(), HasSubstr("`claims` claims shape"));
}

// A file system of one MiB, for as long as the object lives. Who may not mount becomes root of a user namespace of this
// process' own; what cannot do that either says so.
class SmallDisk {
 public:
  explicit SmallDisk(const std::filesystem::path& place) : place_(place) {
    std::filesystem::create_directory(place_);
    if (mount() || (become_root_of_a_namespace() && mount())) return;
    reason_ = std::strerror(errno);
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(place_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  const std::string& reason() const { return reason_; }

 private:
  bool mount() { return mounted_ = ::mount("tmpfs", place_.c_str(), "tmpfs", 0, "size=1m") == 0; }

  static bool become_root_of_a_namespace() {
    const std::string map = "0 " + std::to_string(::geteuid()) + " 1";
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    std::ofstream("/proc/self/uid_map") << map;
    return ::geteuid() == 0;
  }

  std::filesystem::path place_;
  bool mounted_ = false;
  std::string reason_;
};

TEST_F(Hdf5Test, AFullDiskSaysSoAndLeavesNothingBehind) {
  const SmallDisk disk(directory_ / "small");
  if (!disk.mounted())
    GTEST_SKIP() << "cannot mount a small tmpfs to fill, neither as root nor in a user namespace: " << disk.reason();
  const auto target = directory_ / "small" / "file.h5";

  // In the middle of a large dataset.
  {
    const std::vector<float> large(1 << 20, 1.0f);
    H5File out = H5File::create(target);
    const Error error = error_of([&] { out.write("large", large, {1 << 20}); });
    EXPECT_EQ(error.code(), ExitCode::disk_full);
    EXPECT_THAT(error.what(), HasSubstr("cannot write the dataset `large`: write failed: No space left on device"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory_ / "small"));

  // In metadata, which HDF5 keeps back and may first write while closing.
  {
    H5File out = H5File::create(target);
    const Error error = error_of([&] {
      for (int i = 0; i < 20000; ++i) out.make_group("group" + std::to_string(i));
      out.commit();
    });
    EXPECT_EQ(error.code(), ExitCode::disk_full);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory_ / "small"));

  // Only when closing: the data just fits, the rest does not.
  {
    std::ofstream(directory_ / "small" / "filler") << std::string((1 << 20) - 8192, 'f');
    H5File out = H5File::create(target);
    const Error error = error_of([&] {
      for (int i = 0; i < 100; ++i) out.make_group("group" + std::to_string(i));
      out.commit();
    });
    EXPECT_EQ(error.code(), ExitCode::disk_full);
    EXPECT_FALSE(std::filesystem::exists(target));
  }

  // And the library is none the worse for it.
  write_sample(file());
  EXPECT_EQ(H5File::open(file()).read<std::int32_t>("ints").values, (std::vector<std::int32_t>{-7, 11}));
}

}  // namespace
}  // namespace headroom
