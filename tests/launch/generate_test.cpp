// `headroom generate`: text from a run and from the directory that it was converted to, ids from a model without a
// tokenizer, and what it says of what cannot be done.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "data/tokenizer.h"
#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
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
  EXPECT_EQ(text_of(run + options + "--bos"), first);  // as is its tokenizer's convention
  EXPECT_NE(text_of(run + options + "--no-bos"), first);

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

// Token by token, cut wherever a character may be: an untrained model's tokens are bytes of all kinds.
TEST(Generate, PrintsTheTextOfAllItsTokens) {
  const Workspace here;
  const Outcome trained =
      headroom("train " + here.config("run", "train.steps = 1\nsnapshot.every = 0\nmodel.seq_len = 256\n"));
  ASSERT_EQ(trained.status, 0) << trained.output;
  const Tokenizer tokenizer = Tokenizer::load(here / "corpus");
  const std::vector<std::int32_t> prompt = tokenizer.encode("the old");
  std::string ids = std::to_string(tokenizer.bos());
  for (const std::int32_t id : prompt) ids += " " + std::to_string(id);
  for (const char* seed : {"1", "2"}) {
    const std::string options = here.run("run").string() + " --max-tokens 80 --seed " + seed;
    std::vector<std::int32_t> all = prompt;
    std::istringstream tokens(text_of(options + " --prompt-ids " + here.file("ids.txt", ids + "\n").string()));
    for (std::int32_t token = 0; tokens >> token;) all.push_back(token);
    EXPECT_EQ(text_of(options + " --prompt 'the old'"), tokenizer.decode(all) + "\n") << seed;
  }
}

TEST(Generate, EndsAtATokenThatEndsATextGivenIdsToo) {
  const Scratch here;
  fs::copy(fixture("llama_2"), here / "model");
  const std::string options = (here / "model").string() + " --prompt-ids " + here.file("ids.txt", "3 1 4\n").string() +
                              " --max-tokens 6 --temperature 0";
  std::vector<std::string> words;
  std::istringstream all(text_of(options));
  for (std::string word; all >> word;) words.push_back(word);
  ASSERT_EQ(words.size(), 6U);
  const auto first = std::find(words.begin(), words.end(), words[3]) - words.begin();
  here.file("model/generation_config.json", R"({"eos_token_id": [)" + words[3] + "]}");
  std::string expected;
  for (std::ptrdiff_t i = 0; i < first; ++i) expected += (i > 0 ? " " : "") + words[static_cast<std::size_t>(i)];
  EXPECT_EQ(text_of(options), expected + "\n");
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
