// `headroom generate`: text from a run and from the directory that it was converted to, ids from a model without a
// tokenizer, and what it says of what cannot be done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string fixture(const std::string& name) {
  return (fs::path(source_dir()) / "tests/fixtures/hf" / name).string();
}

// Standard output alone.
std::string text_of(const std::string& arguments) {
  const Outcome ran = shell(std::string(HEADROOM_BINARY) + " generate " + arguments + " 2>/dev/null");
  EXPECT_EQ(ran.status, 0) << arguments;
  return ran.output;
}

TEST(Generate, GoesOnFromTextTheSameWayWithTheSameSeed) {
  const Workspace here;
  const Outcome trained = headroom("train " + here.config("run", "snapshot.every = 0\nmodel.seq_len = 32\n"));
  ASSERT_EQ(trained.status, 0) << trained.output;
  const std::string run = here.run("run").string();
  const std::string options = " --prompt 'the old river' --max-tokens 20 ";
  const std::string first = text_of(run + options);
  EXPECT_THAT(first, StartsWith("the old river"));
  EXPECT_GT(first.size(), 20U);
  EXPECT_EQ(text_of(run + options), first);
  EXPECT_EQ(text_of(run + options + "--memory 0"), first);
  EXPECT_NE(text_of(run + options + "--seed 2"), first);
  const std::string greedy = text_of(run + options + "--temperature 0");
  EXPECT_EQ(text_of(run + options + "--top-k 1 --seed 5"), greedy);
  EXPECT_EQ(text_of(run + options + "--top-p 1e-6"), greedy);
  EXPECT_NE(text_of(run + options + "--no-bos --temperature 0"), "");

  ASSERT_EQ(headroom("convert " + run + " --to hf " + (here / "hf").string()).status, 0);
  EXPECT_EQ(text_of((here / "hf").string() + options), first);
  const Outcome nothing = headroom("generate " + run + " --no-bos");
  EXPECT_EQ(nothing.status, 2);
  EXPECT_THAT(nothing.output, HasSubstr("nothing to go on from"));
}

TEST(Generate, GoesOnFromIdsOfAModelWithoutATokenizer) {
  const Scratch here;
  const std::string ids = here.file("ids.txt", "3 1 4\n").string();
  const std::string tokens =
      text_of(fixture("gemma2_odd") + " --prompt-ids " + ids + " --max-tokens 5 --temperature 0");
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), ' '), 4) << tokens;
  EXPECT_NE(headroom("generate " + fixture("gemma2_odd") + " --prompt x").status, 0);  // no tokenizer
  const Outcome two =
      headroom("generate " + fixture("gemma2_odd") + " --prompt-ids " + here.file("two.txt", "1\n2\n").string());
  EXPECT_EQ(two.status, 4);
}

TEST(Generate, EndsWhereLearnedPositionsDo) {
  const Scratch here;
  const std::string ids = here.file("ids.txt", "3 1 4\n").string();
  const Outcome ran = headroom("generate " + fixture("gpt2_base") + " --prompt-ids " + ids + " --max-tokens 100000");
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("the text ends there"));
}

}  // namespace
}  // namespace headroom::test
