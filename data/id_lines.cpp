#include "data/id_lines.h"

#include <charconv>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

namespace headroom {
namespace {

constexpr std::string_view kBetween = " \t,\r";

std::vector<std::int32_t> ids_of(std::string_view line, const std::filesystem::path& file, std::size_t number) {
  std::vector<std::int32_t> ids;
  for (;;) {
    const std::size_t begin = line.find_first_not_of(kBetween);
    if (begin == std::string_view::npos) return ids;
    line.remove_prefix(begin);
    const std::string_view word = line.substr(0, line.find_first_of(kBetween));
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0) {
      throw Error(ExitCode::bad_data,
                  fmt::format("{}, line {}: '{}' is no token id", file.string(), number, word.substr(0, 40)),
                  "A line is a sequence: ids in decimal, separated by blanks or commas.");
    }
    ids.push_back(id);
    line.remove_prefix(word.size());
  }
}

}  // namespace

std::vector<std::vector<std::int32_t>> read_id_lines(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  std::vector<std::vector<std::int32_t>> sequences;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    auto ids = ids_of(std::string_view(text).substr(begin, end - begin), file, ++number);
    if (!ids.empty()) sequences.push_back(std::move(ids));
    begin = end + 1;
  }
  if (sequences.empty()) throw Error(ExitCode::bad_data, fmt::format("{} holds no token ids", file.string()));
  return sequences;
}

}  // namespace headroom
