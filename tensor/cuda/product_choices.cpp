#include "tensor/cuda/product_choices.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <charconv>
#include <string_view>
#include <utility>

#include "base/descriptor.h"
#include "base/file.h"

namespace headroom::cuda {
namespace {

constexpr std::size_t kHexWord = 16;

std::string hex(const ProductChoices::Algorithm& algorithm) {
  std::string text;
  for (const std::uint64_t word : algorithm) text += fmt::format("{:016x}", word);
  return text;
}

// Nothing if it is not 8 words: a line that was not written to its end.
std::optional<ProductChoices::Algorithm> parse(std::string_view text) {
  ProductChoices::Algorithm algorithm{};
  if (text.size() != algorithm.size() * kHexWord) return std::nullopt;
  for (std::uint64_t& word : algorithm) {
    const char* const end = text.data() + kHexWord;
    const auto result = std::from_chars(text.data(), end, word, 16);
    if (result.ec != std::errc{} || result.ptr != end) return std::nullopt;
    text.remove_prefix(kHexWord);
  }
  return algorithm;
}

// The first whole line that begins with `prefix`.
std::optional<ProductChoices::Algorithm> look_up(std::string_view content, const std::string& prefix) {
  while (!content.empty()) {
    const std::size_t end = content.find('\n');
    std::string_view line = content.substr(0, end);
    content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
    if (!line.starts_with(prefix)) continue;
    line.remove_prefix(prefix.size());
    if (const auto algorithm = parse(line)) return algorithm;
  }
  return std::nullopt;
}

}  // namespace

ProductChoices::ProductChoices(std::filesystem::path path, std::string context)
    : path_(std::move(path)), context_(std::move(context)) {}

std::optional<ProductChoices::Algorithm> ProductChoices::find(const std::string& product) const {
  if (path_.empty() || !std::filesystem::exists(path_)) return std::nullopt;
  return look_up(read_file(path_), fmt::format("{}\t{}\t", context_, product));
}

ProductChoices::Algorithm ProductChoices::settle(const std::string& product, const Algorithm& algorithm) const {
  if (path_.empty()) return algorithm;
  const Descriptor file(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
  if (!file) throw_write_error(path_, "write", errno);
  // Held until the file is closed.
  if (::flock(file.get(), LOCK_EX) != 0) throw_write_error(path_, "lock", errno);
  const std::string content = read_file(path_);
  const std::string prefix = fmt::format("{}\t{}\t", context_, product);
  if (const auto standing = look_up(content, prefix)) return *standing;
  const bool torn = !content.empty() && content.back() != '\n';
  const std::string line = fmt::format("{}{}{}\n", torn ? "\n" : "", prefix, hex(algorithm));
  if (const int error = write_all(file.get(), line); error != 0) throw_write_error(path_, "write", error);
  return algorithm;
}

}  // namespace headroom::cuda
