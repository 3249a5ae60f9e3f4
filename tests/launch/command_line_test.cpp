// The command line from outside: what the program prints and with which code it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Outcome {
  int status;
  std::string output;  // both streams
};

Outcome headroom(const std::string& arguments) {
  std::FILE* pipe = ::popen((std::string(HEADROOM_BINARY) + " " + arguments + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "popen failed"};
  Outcome outcome{0, ""};
  std::array<char, 4096> buffer{};
  for (std::size_t count = 0; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    outcome.output.append(buffer.data(), count);
  }
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

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

TEST(CommandLine, EveryVerbHasHelp) {
  const Outcome outcome = headroom("tokenize --help");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("--help"));
}

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

}  // namespace
