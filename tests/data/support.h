// What the data tests share: bytes put together by hand, prose, checks of an Error's code and message.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/scratch.h"

namespace headroom::test {

// Little-endian bytes of values, one after another.
template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Prose enough to train a tokenizer on: sentences over a small set of words, in an order that never repeats itself.
inline std::string prose(int sentences, unsigned seed = 1) {
  static const char* const words[] = {"the",      "river",    "carries", "old",      "stories",  "from",
                                      "mountain", "villages", "to",      "quiet",    "harbours", "where",
                                      "people",   "listen",   "and",     "remember", "winter",   "light"};
  std::string text;
  unsigned state = seed;
  for (int sentence = 0; sentence < sentences; ++sentence) {
    for (int word = 0; word < 9; ++word) {
      state = state * 1664525u + 1013904223u;
      if (word > 0) text += ' ';
      text += words[(state >> 16) % std::size(words)];
    }
    text += ".\n";
  }
  return text;
}

// Runs `action`, which must throw headroom::Error with this code and a message that contains every given part.
template <typename Action>
void expect_error(Action action, ExitCode code, const std::vector<std::string>& parts) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const std::string& part : parts) EXPECT_THAT(error.what(), testing::HasSubstr(part));
    return;
  }
  ADD_FAILURE() << "nothing was thrown; expected an error about " << testing::PrintToString(parts);
}

}  // namespace headroom::test
