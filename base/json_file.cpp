#include "base/json_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "base/file.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kLargestFile = std::uintmax_t{256} << 20;
constexpr int kDeepestNesting = 64;
constexpr std::size_t kLongestQuote = 60;  // bytes

[[noreturn]] void refuse(ExitCode refusal, const std::string& where, const std::string& what) {
  throw Error(refusal, fmt::format("{}: {}", where, what),
              "Download it again, or have it written by the library that made it.");
}

// Brackets outside strings.
int nesting(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

nlohmann::json read_json(const fs::path& file, ExitCode refusal) {
  std::error_code unknown;  // what cannot be read says so below
  const std::uintmax_t bytes = fs::file_size(file, unknown);
  if (!unknown && bytes > kLargestFile) {
    refuse(refusal, file.string(), fmt::format("{} bytes, at most {} are read of a JSON file", bytes, kLargestFile));
  }
  return parse_json(read_file(file), file.string(), refusal);
}

nlohmann::json parse_json(std::string_view text, const std::string& where, ExitCode refusal) {
  if (const int depth = nesting(text); depth > kDeepestNesting) {
    refuse(refusal, where, fmt::format("{} brackets inside each other, at most {} are read", depth, kDeepestNesting));
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    refuse(refusal, where,
           fmt::format("no JSON from byte {} of {} on: it is damaged or cut short", error.byte, text.size()));
  } catch (const nlohmann::json::exception&) {  // a number out of range
    refuse(refusal, where, "its JSON holds a number that is none");
  }
}

std::string excerpt(const nlohmann::json& value) {
  std::string text = value.dump();
  if (text.size() <= kLongestQuote) return text;
  std::size_t end = kLongestQuote;
  while ((static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // at the end of a character
  return text.substr(0, end) + "...";
}

}  // namespace headroom
