// The command line from outside: what the program prints and with which code it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using headroom::test::headroom;
using headroom::test::Outcome;

TEST(CommandLine, HelpAndVersionSucceed) {
  const Outcome help = headroom("--help");
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("Headroom pretrains"), HasSubstr("tokenize")));
  const Outcome version = headroom("--version");
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.output, AllOf(StartsWith("headroom 0."), HasSubstr("(commit ")));
}

TEST(CommandLine, AMisspeltVerbIsSuggested) {
  const Outcome outcome = headroom("tokenise corpus");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output, AllOf(StartsWith("error: unknown verb 'tokenise'\n"),
                                    HasSubstr("hint: Did you mean `headroom tokenize`?")));
}

TEST(CommandLine, AnUnknownVerbIsAnErrorWithoutASuggestion) {
  const Outcome outcome = headroom("frobnicate");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("unknown verb 'frobnicate'"), HasSubstr("headroom --help"),
                                    Not(HasSubstr("Did you mean"))));
}

TEST(CommandLine, NoVerbIsAnError) {
  const Outcome outcome = headroom("");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output, StartsWith("error: no verb given\n"));
}

class VerbHelp : public testing::TestWithParam<const char*> {};

TEST_P(VerbHelp, NamesItsOptions) {
  const std::string verb = GetParam();
  const Outcome outcome = headroom(verb + " --help");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("Usage: headroom " + verb), HasSubstr("--help")));
  EXPECT_THAT(headroom("--help").output, HasSubstr(verb));
}

INSTANTIATE_TEST_SUITE_P(Verbs, VerbHelp, testing::Values("tokenize", "train", "analyze", "bench", "verify"));

TEST(CommandLine, AMisspeltOptionIsSuggested) {
  const Outcome outcome = headroom("tokenize --vocab-siez 3");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output, AllOf(StartsWith("error: unknown option '--vocab-siez'\n"),
                                    HasSubstr("Did you mean --vocab-size?"), HasSubstr("`headroom tokenize --help`")));
}

TEST(CommandLine, AMissingOptionNamesTheVerbsHelp) {
  const Outcome outcome = headroom("tokenize");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("is required"), HasSubstr("hint: See `headroom tokenize --help`.")));
}

TEST(Tokenize, TakesTheDirectoryOfAPublishedModel) {
  const headroom::test::Scratch scratch;
  const auto fixtures = std::filesystem::path(headroom::test::source_dir()) / "tests/fixtures/tokenizers";
  std::string text;
  for (int i = 0; i < 50; ++i) text += "Document " + std::to_string(i) + " is short.\n<|endoftext|>\n";
  const std::string command = "tokenize " + scratch.file("text.txt", text).string() + " --out " +
                              (scratch / "corpus").string() + " --held-out 0.2 --tokenizer ";
  const Outcome refused = headroom(command + (fixtures / "qwen-2").string());
  EXPECT_EQ(refused.status, 4);
  EXPECT_THAT(refused.output, AllOf(HasSubstr("qwen-2/tokenizer.json has no BOS"), HasSubstr("tokenizer_config.json")));
  const Outcome made = headroom(command + (fixtures / "opt").string());
  EXPECT_EQ(made.status, 0) << made.output;
  EXPECT_THAT(made.output, HasSubstr("with 620 pieces"));
  EXPECT_TRUE(std::filesystem::exists(scratch / "corpus/merges.txt"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "corpus/tokenizer.model"));
}

}  // namespace
