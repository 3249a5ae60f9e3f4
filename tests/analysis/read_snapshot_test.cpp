// docs/read_snapshot.py, the documented way into a snapshot from Python, on a file this program wrote.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "analysis/snapshot_reader.h"
#include "tests/analysis/fake_model.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Outcome {
  int status;
  std::string output;
};

Outcome run(const std::string& command) {
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "popen failed"};
  Outcome outcome{};
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) outcome.output += buffer.data();
  outcome.status = ::pclose(pipe);
  return outcome;
}

Outcome read_snapshot(const std::string& arguments) {
  // The system's own, which the package python3-h5py is for.
  return run("/usr/bin/python3 " HEADROOM_SOURCE_DIR "/docs/read_snapshot.py " + arguments);
}

TEST(ReadSnapshotScript, PrintsTheLargestActivationsOfALayer) {
  const test::Scratch scratch;
  const std::filesystem::path path = scratch / "step-00000100.h5";
  test::fake_snapshot(Mesh::single(), test::FakeModel::config(KvBiasKind::kv, 3), DType::f32, test::fake_probe(), path);
  const SnapshotReader reader = SnapshotReader::open(path);
  const SiteStatistics& site = reader.contents().sites.at(Site::block_output);

  const Outcome outcome = read_snapshot(path.string() + " --layer 1 --top 2");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("fake (TVR + DyT), step 100"), HasSubstr("layer 1 of 3"),
                                    HasSubstr("sequence 2, calibration, with BOS"), HasSubstr("bias slot 0.")));
  for (std::int64_t sequence = 0; sequence < site.sequences; ++sequence) {
    const auto token = site.row(site.top_token, 1, sequence)[1];
    EXPECT_THAT(outcome.output,
                HasSubstr(fmt::format("{:12.4f}  token {:4d} {:16}  channel {}\n",
                                      site.row(site.top_values, 1, sequence)[1], token,
                                      fmt::format("'{}'", reader.contents().probe.pieces[static_cast<std::size_t>(
                                                              sequence * reader.contents().dims.tokens + token)]),
                                      site.row(site.top_channel, 1, sequence)[1])));
  }
}

TEST(ReadSnapshotScript, SaysWhatIsWrongWithItsArguments) {
  const test::Scratch scratch;
  const std::filesystem::path path = scratch / "step-00000100.h5";
  test::fake_snapshot(Mesh::single(), test::FakeModel::config(KvBiasKind::none, 3), DType::f32, test::fake_probe(),
                      path);
  const Outcome layer = read_snapshot(path.string() + " --layer 3");
  EXPECT_NE(layer.status, 0);
  EXPECT_THAT(layer.output, HasSubstr("the snapshot has layers 0 to 2"));
  const Outcome site = read_snapshot(path.string() + " --site mlp");
  EXPECT_NE(site.status, 0);
  EXPECT_THAT(site.output, HasSubstr("no site mlp; there are: attention_norm_output"));
}

// HDF5's own tools do not mind the seal behind the end of the file.
TEST(SnapshotTools, H5dumpReadsASealedFile) {
  const test::Scratch scratch;
  const std::filesystem::path path = scratch / "step-00000100.h5";
  test::fake_snapshot(Mesh::single(), test::FakeModel::config(KvBiasKind::none, 3), DType::f32, test::fake_probe(),
                      path);
  const Outcome dump = run("h5dump " + path.string());
  EXPECT_EQ(dump.status, 0);
  EXPECT_THAT(dump.output, HasSubstr("headroom-snapshot"));
}

}  // namespace
}  // namespace headroom
