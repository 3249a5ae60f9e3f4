// Tokens beside the model's: "<|endoftext|>", "<s>", runs of blanks. A text is cut at them before anything else is done
// to it, or, where they are "normalized", before it is cut further.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/json_node.h"
#include "data/tokenizer/normalizer.h"
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/pieces.h"
#include "data/tokenizer/token_trie.h"
#include "data/tokenizer/vocabulary.h"

namespace headroom {

struct AddedToken {
  std::string content;
  std::int32_t id = kNoToken;
  bool single_word = false;  // found only where no character of a word stands beside it
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // and behind it
  bool normalized = true;    // found in the normalised text, in its own normalised form
  std::string decoded;       // what decoding begins with: the normalised form
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // The member "added_tokens" of a tokenizer.json. Ids are those that the `tokenizers` library would give: the
  // vocabulary's, and for others the next ones behind it, in the file's order. Throws ExitCode::bad_data naming the key
  // when the file says otherwise, or says something twice.
  AddedTokens(const JsonNode& node, const Vocabulary& vocabulary, const Normalizer& normalizer);

  const std::vector<AddedToken>& list() const { return tokens_; }
  // Null for an id that is none of them.
  const AddedToken* by_id(std::int32_t id) const;
  std::optional<std::int32_t> id_of(std::string_view content) const;

  void cut_before_normalizing(Pieces& pieces) const { cut(before_, pieces); }
  void cut_after_normalizing(Pieces& pieces) const { cut(after_, pieces); }

 private:
  void cut(const TokenTrie& trie, Pieces& pieces) const;
  void cut_piece(const TokenTrie& trie, const Piece& piece, Pieces& pieces) const;
  bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::int32_t, std::size_t> by_id_;  // index into tokens_
  std::unordered_map<std::string, std::size_t> by_content_;
  TokenTrie before_;  // of indices into tokens_
  TokenTrie after_;
  std::optional<Pattern> word_;
};

}  // namespace headroom
