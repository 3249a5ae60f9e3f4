#include "base/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/scratch.h"

namespace headroom {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::string& text) {
  try {
    parse_json(text, "here", ExitCode::bad_checkpoint);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
    return error.what();
  }
  return "";
}

TEST(JsonFile, IsRefusedWhereItIsTooDeepOrNoJson) {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_EQ(refusal(nested(64)), "");
  EXPECT_EQ(refusal(nested(65)), "here: 65 brackets inside each other, at most 64 are read");
  EXPECT_EQ(refusal(R"(["[[\"[["])"), "");  // brackets in a text are none
  EXPECT_THAT(refusal("{\"a\": "), HasSubstr("no JSON from byte"));
  EXPECT_THAT(refusal("1e999"), HasSubstr("a number that is none"));
}

TEST(JsonFile, ThatIsMissingIsBadDataWhateverItsRefusal) {
  const test::Scratch here;
  try {
    read_json(here / "nowhere", ExitCode::bad_checkpoint);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
  }
}

TEST(Excerpt, IsCutAtAWholeCharacter) {
  EXPECT_EQ(excerpt({{"a", 1}}), R"({"a":1})");
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "\u00e4";
  const std::string cut = excerpt(umlauts);
  EXPECT_EQ(cut, "\"" + umlauts.substr(0, 58) + "...");
}

}  // namespace
}  // namespace headroom
