#include "data/tokenizer/pre_tokenizer.h"

#include <memory>
#include <string>

#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/characters.h"
#include "data/tokenizer/metaspace.h"
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/replacement.h"
#include "data/tokenizer/split.h"

namespace headroom {
namespace {

// GPT-2's pattern, which ByteLevel brings along.
constexpr const char* kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Cuts every piece at what `find(text, stretches)` finds.
template <typename Find>
auto splitting(Find find, SplitBehavior behavior, bool invert = false) {
  return [find = std::move(find), behavior, invert](Pieces& pieces) {
    std::vector<Stretch> stretches;
    pieces.rewrite([&](const Piece& piece) {
      stretches.clear();
      find(piece.text, stretches);
      if (invert) {
        for (Stretch& stretch : stretches) stretch.match = !stretch.match;
      }
      add_split(piece, stretches, behavior, pieces);
    });
  };
}

template <typename Matches>
auto splitting_at_characters(Matches matches, SplitBehavior behavior) {
  return splitting(
      [matches](std::string_view text, std::vector<Stretch>& out) { character_stretches(text, matches, out); },
      behavior);
}

auto finding(Pattern pattern) {
  return [shared = std::make_shared<const Pattern>(std::move(pattern))](
             std::string_view text, std::vector<Stretch>& out) { shared->stretches(text, out); };
}

}  // namespace

PreTokenizer::PreTokenizer(const JsonNode& node) {
  add(node);
}

void PreTokenizer::apply(Pieces& pieces) const {
  for (const auto& step : steps_) step(pieces);
}

void PreTokenizer::add(const JsonNode& node) {
  const std::string& type = node.type();
  if (type == "Sequence") {
    node.allow_only({"type", "pretokenizers"});
    const JsonNode parts = node.at("pretokenizers");
    for (std::size_t i = 0; i < parts.size(); ++i) add(parts.item(i));
  } else if (type == "ByteLevel") {
    add_byte_level(node);
  } else if (type == "Split") {
    add_split(node);
  } else if (type == "Metaspace") {
    steps_.emplace_back([metaspace = Metaspace(node)](Pieces& pieces) { metaspace.pre_tokenize(pieces); });
  } else if (type == "Digits") {
    node.allow_only({"type", "individual_digits"});
    const bool individual = node.at("individual_digits").boolean();
    steps_.emplace_back(
        splitting_at_characters(is_number, individual ? SplitBehavior::isolated : SplitBehavior::contiguous));
  } else if (type == "Punctuation") {
    node.allow_only({"type", "behavior"});
    const auto behavior = node.find("behavior");
    steps_.emplace_back(
        splitting_at_characters(is_punctuation, behavior ? split_behavior(*behavior) : SplitBehavior::isolated));
  } else if (type == "WhitespaceSplit") {
    node.allow_only({"type"});
    steps_.emplace_back(splitting_at_characters(is_white_space, SplitBehavior::removed));
  } else if (type == "Whitespace") {
    node.allow_only({"type"});
    steps_.emplace_back(splitting(finding(Pattern::words_and_others()), SplitBehavior::removed, /*invert=*/true));
  } else {
    node.at("type").fail(fmt::format("the pre-tokenizer '{}' is not supported", type),
                         "docs/tokenizers.md says what is.");
  }
}

void PreTokenizer::add_byte_level(const JsonNode& node) {
  node.allow_only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  const bool prefix = node.at("add_prefix_space").boolean();
  node.boolean_or("trim_offsets", true);  // says where tokens stand in the text, not which they are
  std::shared_ptr<const Pattern> pattern;
  if (node.boolean_or("use_regex", true)) {
    pattern = std::make_shared<const Pattern>(Pattern::regex(kByteLevelPattern, node.place()));
  }
  byte_level_ = true;
  steps_.emplace_back([prefix, pattern](Pieces& pieces) {
    std::vector<Stretch> stretches;
    pieces.rewrite([&](const Piece& piece) {
      Piece whole = piece;
      if (prefix && !piece.continues && !piece.text.starts_with(' ')) {
        char* const text = pieces.arena.take(piece.text.size() + 1);
        *text = ' ';
        piece.text.copy(text + 1, piece.text.size());
        whole.text = {text, piece.text.size() + 1};
      }
      stretches.clear();
      if (pattern) {
        pattern->stretches(whole.text, stretches);
      } else {
        stretches.push_back({0, whole.text.size(), true});
      }
      for (const Stretch& stretch : stretches) {
        if (stretch.begin == stretch.end) continue;
        pieces.add_part(whole, stretch.begin, stretch.end);
        Piece& part = pieces.next.back();
        part.text = to_byte_level(part.text, pieces.arena);
      }
    });
  });
}

void PreTokenizer::add_split(const JsonNode& node) {
  node.allow_only({"type", "pattern", "behavior", "invert"});
  const SplitBehavior behavior = split_behavior(node.at("behavior"));
  const bool invert = node.at("invert").boolean();
  steps_.emplace_back(splitting(finding(pattern_member(node)), behavior, invert));
}

}  // namespace headroom
