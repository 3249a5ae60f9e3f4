// What `headroom inspect` shows of a checkpoint, and that Python reads its tensors whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A run of two checkpoints, at 2x2: every matrix lies in pieces over four files.
class Inspect : public testing::Test {
 protected:
  void SetUp() override {
    const Outcome trained =
        headroom_ranks(4, "train " + here_.config("run", "checkpoint.every = 4\n") + " --set parallel.tensor=2");
    ASSERT_EQ(trained.status, 0) << trained.output;
  }
  fs::path checkpoint(const std::string& name) const { return here_.run("run") / "checkpoints" / name; }

  static void flip_the_middle(const fs::path& file) {
    std::string bytes = content_of(file);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    std::ofstream(file, std::ios::binary) << bytes;
  }

  Workspace here_;
};

TEST_F(Inspect, ListsProvenanceTensorsAndFilesOfARunsNewest) {
  const Outcome shown = headroom("inspect " + here_.run("run").string() + " --verify");
  EXPECT_EQ(shown.status, 0) << shown.output;
  EXPECT_THAT(shown.output,
              AllOf(HasSubstr("step-00000008"), HasSubstr("step             8"), HasSubstr("written at       2x2"),
                    HasSubstr("Open MPI"), HasSubstr("layers.2.mlp.down.weight"), HasSubstr("[32, 48]"),
                    HasSubstr("rank-00003.h5"), HasSubstr("tensors.h5"), HasSubstr("every byte is as it was written")));
}

TEST_F(Inspect, VerifyNamesDamageAlsoBesideAComparison) {
  flip_the_middle(checkpoint("step-00000004") / "rank-00001.h5");
  const std::string damaged = checkpoint("step-00000004").string();
  for (const std::string& options : {std::string(" --verify"), " --verify --against " + damaged}) {
    const Outcome found = headroom("inspect " + damaged + options);
    EXPECT_EQ(found.status, 5) << found.output;
    EXPECT_THAT(found.output, HasSubstr("rank-00001.h5 is damaged in "));
  }
}

TEST_F(Inspect, AgainstAnotherStepTellsHowFarItIs) {
  const std::string first = checkpoint("step-00000004").string();
  const std::string second = checkpoint("step-00000008").string();
  EXPECT_EQ(headroom("inspect " + first + " --against " + first).status, 0);
  const Outcome other = headroom("inspect " + first + " --against " + second);
  EXPECT_EQ(other.status, 5) << other.output;
  EXPECT_THAT(other.output, HasSubstr("DIFFERENT"));
  EXPECT_EQ(headroom("inspect " + first + " --against " + second + " --tolerance 1e9").status, 0);
}

TEST_F(Inspect, WhatIsNoCheckpointIsSaidToBeThat) {
  const Outcome file = headroom("inspect " + (checkpoint("latest") / "tensors.h5").string());
  EXPECT_EQ(file.status, 5) << file.output;
  EXPECT_THAT(file.output, AllOf(HasSubstr("is a file"), HasSubstr("directory")));
  const Outcome nothing = headroom("inspect " + (here_ / "nowhere").string());
  EXPECT_EQ(nothing.status, 5) << nothing.output;
}

// By the manifest's pieces, put together by hand, and by HDF5, which must be the same; NaN where a file is missing.
constexpr const char* kWholeTensors = R"(
import h5py, json, numpy, os, sys
folder = sys.argv[1]
manifest = json.load(open(os.path.join(folder, "manifest.json")))
files = [h5py.File(os.path.join(folder, f["name"]), "r") if f["name"].startswith("rank") else None for f in manifest["files"]]
whole = h5py.File(os.path.join(folder, "tensors.h5"), "r")
compared = 0
for kind in manifest["kinds"]:
    for tensor in manifest["tensors"]:
        name = kind + "/" + tensor["name"]
        matrix = numpy.full(tensor["shape"] + [1] * (2 - len(tensor["shape"])), numpy.nan, numpy.float32)
        for file, begin, row, column, rows, columns in tensor["pieces"]:
            numbers = files[file][name][begin:begin + rows * columns]
            matrix[row:row + rows, column:column + columns] = numbers.reshape(rows, columns)
        assert not numpy.isnan(matrix).any(), name
        assert (whole[name][...] == matrix.reshape(tensor["shape"])).all(), name
        compared += 1
for file in files + [whole]:
    if file: file.close()
os.remove(os.path.join(folder, "rank-00001.h5"))
lacking = next(t["name"] for t in manifest["tensors"] if any(piece[0] == 1 for piece in t["pieces"]))
assert numpy.isnan(h5py.File(os.path.join(folder, "tensors.h5"), "r")["weights/" + lacking][...]).any(), lacking
print("compared", compared)
)";

TEST_F(Inspect, H5pyReadsEveryTensorWhole) {
  const fs::path script = here_.file("whole.py", kWholeTensors);
  // The system's own, which the package python3-h5py is for.
  const Outcome read = shell("/usr/bin/python3 " + script.string() + " " + checkpoint("step-00000008").string());
  EXPECT_EQ(read.status, 0) << read.output;
  EXPECT_THAT(read.output, HasSubstr("compared 90"));  // 30 tensors of three kinds
}

}  // namespace
}  // namespace headroom::test
