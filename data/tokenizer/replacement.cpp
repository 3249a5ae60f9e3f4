#include "data/tokenizer/replacement.h"

#include <vector>

namespace headroom {
namespace {

struct Written {
  std::string text;
  bool regex;
  JsonNode node;
};

Written written_pattern(const JsonNode& node) {
  const JsonNode pattern = node.at("pattern");
  pattern.allow_only({"String", "Regex"});
  const auto text = pattern.find("String");
  const auto regex = pattern.find("Regex");
  if (text.has_value() == regex.has_value()) pattern.fail("expected one of 'String' and 'Regex'");
  const JsonNode& given = text ? *text : *regex;
  if (given.string().empty()) given.fail("an empty pattern is not supported");
  return {given.string(), regex.has_value(), given};
}

}  // namespace

Replacement::Replacement(const JsonNode& node) {
  node.allow_only({"type", "pattern", "content"});
  const Written pattern = written_pattern(node);
  if (pattern.regex) {
    regex_ = Pattern::regex(pattern.text, pattern.node.place());
  } else {
    literal_ = pattern.text;
  }
  content_ = node.at("content").string();
}

void Replacement::apply(std::string& text) const {
  std::string out;
  if (regex_) {
    std::vector<Stretch> stretches;
    regex_->stretches(text, stretches);
    for (const Stretch& stretch : stretches) {
      if (stretch.match) {
        out += content_;
      } else {
        out.append(text, stretch.begin, stretch.end - stretch.begin);
      }
    }
  } else {
    std::size_t done = 0;
    for (std::size_t at = text.find(literal_); at != std::string::npos; at = text.find(literal_, done)) {
      out.append(text, done, at - done);
      out += content_;
      done = at + literal_.size();
    }
    if (done == 0) return;
    out.append(text, done);
  }
  text = std::move(out);
}

Pattern pattern_member(const JsonNode& node) {
  const Written pattern = written_pattern(node);
  return pattern.regex ? Pattern::regex(pattern.text, pattern.node.place())
                       : Pattern::literal(pattern.text, pattern.node.place());
}

}  // namespace headroom
