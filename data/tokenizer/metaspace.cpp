#include "data/tokenizer/metaspace.h"

#include <algorithm>
#include <string_view>

#include "data/tokenizer/split.h"

namespace headroom {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  if (done == 0) return;
  out.append(text, done);
  text = std::move(out);
}

}  // namespace

Metaspace::Metaspace(const JsonNode& node) {
  node.allow_only({"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  replacement_ = node.at("replacement").character();
  if (const auto scheme = node.find("prepend_scheme")) {
    const std::string& name = scheme->string();
    if (name != "first" && name != "always" && name != "never") {
      scheme->fail(fmt::format("'{}' is none of first, always and never", name));
    }
    prepend_ = name == "first" ? Prepend::first : name == "always" ? Prepend::always : Prepend::never;
  }
  if (!node.boolean_or("add_prefix_space", true)) {
    if (node.find("prepend_scheme") && prepend_ != Prepend::never) {
      node.at("add_prefix_space").fail("false, but prepend_scheme says to put a prefix");
    }
    prepend_ = Prepend::never;
  }
  split_ = node.boolean_or("split", true);
}

void Metaspace::pre_tokenize(Pieces& pieces) const {
  std::vector<Stretch> stretches;
  std::string text;
  pieces.rewrite([&](const Piece& piece) {
    text = piece.text;
    replace_all(text, " ", replacement_);
    const bool prepends = prepend_ == Prepend::always || (prepend_ == Prepend::first && piece.at_start);
    if (prepends && !piece.continues && !text.starts_with(replacement_)) text.insert(0, replacement_);
    Piece whole = piece;
    whole.text = pieces.arena.keep(text);
    if (!split_) {
      pieces.next.push_back(whole);
      return;
    }
    stretches.clear();
    const char32_t code = utf8_character(replacement_, 0).code;
    character_stretches(
        whole.text, [code](char32_t c) { return c == code; }, stretches);
    add_split(whole, stretches, SplitBehavior::merged_with_next, pieces);
  });
}

void Metaspace::decode(std::vector<std::string>& tokens) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    replace_all(tokens[i], replacement_, i == 0 && prepend_ != Prepend::never ? "" : " ");
  }
}

}  // namespace headroom
