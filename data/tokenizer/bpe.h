// Byte pair encoding: the model of a tokenizer.json. A piece of text becomes symbols, one a character, and the pair of
// neighbours with the smallest rank is merged until none can be (Sennrich et al. 2016, arXiv:1508.07909).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/json_node.h"
#include "data/tokenizer/merge_table.h"
#include "data/tokenizer/vocabulary.h"

namespace headroom {

class Bpe {
 public:
  // The member "model": vocab, merges ("a b" or ["a", "b"]), unk_token, byte_fallback, fuse_unk, ignore_merges. Throws
  // ExitCode::bad_data naming the key: another kind of model, dropout, affixes, a merge of or into an unknown token.
  explicit Bpe(const JsonNode& node);

  const Vocabulary& vocabulary() const { return vocabulary_; }

  // Appends the ids of a piece in valid UTF-8. Characters without a token become their bytes (byte_fallback) or the
  // unknown token; where there is neither they are left out, as by the `tokenizers` library. Safe to call from several
  // threads. Throws ExitCode::bad_data when the unknown token is needed and no token itself.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const;

 private:
  void read_merges(const JsonNode& node);
  void read_characters();
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) const;
  void append_symbols(std::string_view word, std::vector<std::int32_t>& symbols) const;
  std::int32_t symbol_of(char32_t code) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  std::string place_;  // of the model, for errors
  std::optional<std::string> unk_token_;
  std::optional<std::int32_t> unk_;
  bool byte_fallback_ = false;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
  // No merge joins a character to a blank (U+2581) behind it, and none is left out: pieces may be cut there without
  // changing an id.
  bool cut_before_blanks_ = false;

  std::array<std::int32_t, 0x180> low_symbols_{};  // token of a character, -1 for none; GPT-2's alphabet lies here
  std::unordered_map<char32_t, std::int32_t> symbols_;
  std::array<std::int32_t, 256> bytes_{};  // "<0x00>" to "<0xFF>", -1 for none
  std::uint32_t cache_owner_;
};

}  // namespace headroom
