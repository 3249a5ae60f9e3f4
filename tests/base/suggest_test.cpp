#include "base/suggest.h"

#include <gtest/gtest.h>

namespace headroom {
namespace {

TEST(EditDistance, CountsSlips) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("", "ab"), 2u);
  EXPECT_EQ(edit_distance("train", "train"), 0u);
  EXPECT_EQ(edit_distance("trian", "train"), 1u);  // a swap is one slip
  EXPECT_EQ(edit_distance("tran", "train"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(NearestWord, FindsALikelySlipOnly) {
  const std::vector<std::string> verbs = {"train", "bench", "analyze"};
  EXPECT_EQ(nearest_word("trian", verbs), "train");
  EXPECT_EQ(nearest_word("analyse", verbs), "analyze");
  EXPECT_EQ(nearest_word("fetch", {"bench", "watch"}), "bench");  // a tie goes to the first
  EXPECT_EQ(nearest_word("zebra", verbs), "");
  EXPECT_EQ(nearest_word("train", {}), "");
}

}  // namespace
}  // namespace headroom
