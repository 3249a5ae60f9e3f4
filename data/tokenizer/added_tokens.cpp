#include "data/tokenizer/added_tokens.h"

#include <algorithm>

#include "data/tokenizer/characters.h"

namespace headroom {
namespace {

constexpr std::size_t kLongestToken = 4096;               // bytes
constexpr std::size_t kMostNodes = std::size_t{1} << 22;  // of both tries: more is no tokenizer

AddedToken read_token(const JsonNode& node) {
  node.allow_only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = node.at("content").string();
  token.id = node.at("id").token_id();
  token.single_word = node.boolean_or("single_word", false);
  token.lstrip = node.boolean_or("lstrip", false);
  token.rstrip = node.boolean_or("rstrip", false);
  token.normalized = node.boolean_or("normalized", true);
  node.boolean_or("special", false);  // says what a decoder may leave out; ours leaves out nothing
  return token;
}

std::size_t last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

std::size_t without_white_space_at_end(std::string_view text) {
  while (!text.empty()) {
    const std::size_t last = last_character(text);
    if (!is_white_space(utf8_character(text, last).code)) break;
    text = text.substr(0, last);
  }
  return text.size();
}

std::size_t white_space_from(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Utf8Character character = utf8_character(text, at);
    if (!is_white_space(character.code)) break;
    at += character.length;
  }
  return at;
}

}  // namespace

AddedTokens::AddedTokens(const JsonNode& node, const Vocabulary& vocabulary, const Normalizer& normalizer) {
  auto next_id = static_cast<std::int32_t>(vocabulary.size());
  for (std::size_t i = 0; i < node.size(); ++i) {
    const JsonNode item = node.item(i);
    AddedToken token = read_token(item);
    if (token.content.empty()) continue;  // as the library does
    if (token.content.size() > kLongestToken) item.fail(fmt::format("a token of {} bytes", token.content.size()));
    if (by_content_.contains(token.content)) item.fail(fmt::format("'{}' is listed twice", token.content));
    const auto known = vocabulary.id_of(token.content);
    const std::int32_t id = known ? *known : next_id++;
    if (id != token.id) {
      item.fail(fmt::format("'{}' is said to be id {}, but would be {}", token.content, token.id, id),
                known ? "The vocabulary of the model has the token under that id."
                      : "Tokens beside the vocabulary are numbered from its size on, in the order of the list.");
    }
    if (!known && vocabulary.has(id)) item.fail(fmt::format("id {} is also '{}'", id, vocabulary.token(id)));
    token.decoded = token.content;
    if (token.normalized) normalizer.apply(token.decoded, /*continues=*/false);
    if (token.decoded.empty()) item.fail(fmt::format("nothing is left of '{}' when it is normalised", token.content));
    if (token.single_word && !word_) word_ = Pattern::word_character();
    TokenTrie& trie = token.normalized ? after_ : before_;
    if (!trie.add(token.decoded, static_cast<std::int32_t>(tokens_.size()))) {
      item.fail(fmt::format("'{}' reads like another added token when it is normalised", token.content));
    }
    if (before_.nodes() + after_.nodes() > kMostNodes) node.fail("the added tokens are too long");
    by_id_[id] = tokens_.size();
    by_content_[token.content] = tokens_.size();
    tokens_.push_back(std::move(token));
  }
}

const AddedToken* AddedTokens::by_id(std::int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

std::optional<std::int32_t> AddedTokens::id_of(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  if (found == by_content_.end()) return std::nullopt;
  return tokens_[found->second].id;
}

void AddedTokens::cut(const TokenTrie& trie, Pieces& pieces) const {
  if (trie.empty()) return;
  pieces.rewrite([&](const Piece& piece) { cut_piece(trie, piece, pieces); });
}

// The order of the steps is the library's, so that tokens whose white space overlaps come out alike.
void AddedTokens::cut_piece(const TokenTrie& trie, const Piece& piece, Pieces& pieces) const {
  const std::string_view text = piece.text;
  std::size_t done = 0;
  for (std::size_t from = 0;;) {
    const TokenTrie::Found found = trie.find(text, from);
    if (found.value < 0) break;
    from = found.end;
    const AddedToken& token = tokens_[static_cast<std::size_t>(found.value)];
    if (token.single_word && !stands_alone(text, found.begin, found.end)) continue;
    std::size_t begin = found.begin;
    if (token.lstrip) begin = std::max(without_white_space_at_end(text.substr(0, begin)), done);
    if (done < begin) pieces.add_part(piece, done, begin);
    done = token.rstrip ? white_space_from(text, found.end) : found.end;
    // White space that the token before took already.
    if (begin < done) pieces.next.push_back({{}, token.id, false, false});
  }
  pieces.add_part(piece, done, text.size());
}

bool AddedTokens::stands_alone(std::string_view text, std::size_t begin, std::size_t end) const {
  const auto is_word = [&](std::size_t at) {
    std::vector<Stretch> stretches;
    word_->stretches(text.substr(at, utf8_character(text, at).length), stretches);
    return stretches.front().match;
  };
  return (begin == 0 || !is_word(last_character(text.substr(0, begin)))) && (end == text.size() || !is_word(end));
}

}  // namespace headroom
