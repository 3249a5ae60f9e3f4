#include "tests/fuzz/target.h"

#include <algorithm>
#include <utility>

namespace headroom::fuzz {
namespace {

std::vector<Target>& registered() {
  static std::vector<Target> all;  // targets register before main, in any order of files
  return all;
}

}  // namespace

void run(const Target& target, std::string_view bytes) {
  try {
    target.drive(bytes);
  } catch (const Error& error) {
    if (std::find(target.refusals.begin(), target.refusals.end(), error.code()) != target.refusals.end()) return;
    throw Violation(fmt::format("{}: refused with exit code {}, which is none of its own: {}", target.name,
                                static_cast<int>(error.code()), error.what()));
  }
}

Registration::Registration(Target target) {
  registered().push_back(std::move(target));
}

const std::vector<Target>& targets() {
  return registered();
}

std::vector<std::string> text_parts(std::string_view bytes, std::size_t count) {
  constexpr std::string_view kCut = "\n%%\n";
  std::vector<std::string> parts;
  while (parts.size() + 1 < count) {
    const std::size_t cut = bytes.find(kCut);
    if (cut == std::string_view::npos) break;
    parts.emplace_back(bytes.substr(0, cut + 1));
    bytes.remove_prefix(cut + kCut.size());
  }
  parts.emplace_back(bytes);
  parts.resize(count);
  return parts;
}

}  // namespace headroom::fuzz
