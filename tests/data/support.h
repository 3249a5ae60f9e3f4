// What the data tests share: a scratch directory, bytes put together by hand, checks of an Error's code and message.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"

namespace headroom::test {

// A directory of its own for a test, removed with the object.
class Scratch {
 public:
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "headroom-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no scratch directory: " + pattern);
    path_ = pattern;
  }
  ~Scratch() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  // Writes a file and gives its path.
  std::filesystem::path file(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

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
