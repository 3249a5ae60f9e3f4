// `headroom forward` of every family's checkpoints against transformers' results (tests/fixtures/hf, made by
// make_hf_fixtures.py), and what it says of ids that are none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/hdf5.h"
#include "tests/distance.h"
#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

fs::path fixtures() {
  return fs::path(source_dir()) / "tests/fixtures/hf";
}

// The reference [a, B, T, w] or [B, T, w] has all sequences in one dataset, a forward file each its own.
std::vector<float> of_sequence(const H5Array<float>& whole, std::size_t sequence) {
  const bool layered = whole.dims.size() == 4;
  const auto outer = layered ? static_cast<std::size_t>(whole.dims[0]) : 1;
  const auto batch = static_cast<std::size_t>(whole.dims[layered ? 1 : 0]);
  const std::size_t size = whole.values.size() / outer / batch;
  std::vector<float> own;
  for (std::size_t i = 0; i < outer; ++i) {
    const auto begin = whole.values.begin() + static_cast<std::ptrdiff_t>((i * batch + sequence) * size);
    own.insert(own.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
  }
  return own;
}

constexpr double kTolerance = 1e-5;

TEST(Forward, OfEveryFixtureIsWhatTransformersGives) {
  const Scratch here;
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(fixtures())) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename();
    SCOPED_TRACE(name);
    const H5File reference = H5File::open(entry.path() / "reference.h5");
    const auto ids = reference.read<std::int32_t>("ids");
    std::string text;
    for (std::size_t i = 0; i < ids.values.size(); ++i) {
      const bool ends = (static_cast<std::int64_t>(i) + 1) % ids.dims[1] == 0;
      text += std::to_string(ids.values[i]) + (ends ? "\n" : " ");
    }
    const fs::path out = here / (name + ".h5");
    const Outcome ran = headroom("forward " + entry.path().string() + " --ids " + here.file("ids.txt", text).string() +
                                 " --out " + out.string());
    ASSERT_EQ(ran.status, 0) << ran.output;
    const H5File forward = H5File::open(out);
    EXPECT_EQ(forward.text_attribute("/", "model"), name);
    EXPECT_EQ(forward.int_attribute("/", "sequences"), ids.dims[0]);
    for (std::int64_t i = 0; i < ids.dims[0]; ++i) {
      const std::string group = "sequences/" + std::to_string(i) + "/";
      const auto own = forward.read<std::int32_t>(group + "ids");
      EXPECT_TRUE(std::equal(own.values.begin(), own.values.end(), ids.values.begin() + i * ids.dims[1]));
      for (const char* what : {"hidden", "final", "logits"}) {
        const std::vector<float> expected = of_sequence(reference.read<float>(what), static_cast<std::size_t>(i));
        EXPECT_LT(relative_distance(forward.read<float>(group + what).values, expected), kTolerance)
            << what << " of " << i;
      }
    }
    ++compared;
  }
  EXPECT_GE(compared, 40);
}

TEST(Forward, SequencesOfOtherLengthsKeepTheirResults) {
  const Scratch here;
  const std::string model = (fixtures() / "llama_2").string();
  const auto run = [&](const std::string& text, const std::string& out) {
    const Outcome ran = headroom("forward " + model + " --ids " + here.file("ids.txt", text).string() + " --out " +
                                 (here / out).string());
    EXPECT_EQ(ran.status, 0) << ran.output;
    return H5File::open(here / out);
  };
  const H5File both = run("1 2 3 4 5\n\n7,8\t9\r\n", "both.h5");
  const H5File one = run("7 8 9", "one.h5");
  EXPECT_EQ(both.dims("sequences/1/logits"), one.dims("sequences/0/logits"));
  EXPECT_LT(
      relative_distance(both.read<float>("sequences/1/logits").values, one.read<float>("sequences/0/logits").values),
      kTolerance);
}

TEST(Forward, WrongIdsAreNamedWithTheirLine) {
  const Scratch here;
  const std::string model = (fixtures() / "llama_2").string();
  const auto run = [&](const std::string& text) {
    return headroom("forward " + model + " --ids " + here.file("ids.txt", text).string() + " --out " +
                    (here / "out.h5").string());
  };
  const Outcome word = run("1 2\n3 four\n");
  EXPECT_EQ(word.status, 4);
  EXPECT_THAT(word.output, AllOf(HasSubstr("line 2"), HasSubstr("'four'")));
  EXPECT_EQ(run("1 -2\n").status, 4);
  EXPECT_EQ(run("1 99999999999\n").status, 4);
  EXPECT_EQ(run("\n \n").status, 4);
  const Outcome large = run("1 100000\n");
  EXPECT_EQ(large.status, 4);
  EXPECT_THAT(large.output, HasSubstr("vocabulary"));
  EXPECT_FALSE(fs::exists(here / "out.h5"));
}

}  // namespace
}  // namespace headroom::test
