#include "data/tokenizer/bpe.h"

#include <atomic>

#include "base/error.h"
#include "data/tokenizer/characters.h"
#include "data/tokenizer/merging.h"
#include "data/tokenizer/word_cache.h"

namespace headroom {
namespace {

constexpr std::string_view kBlank = "\u2581";
constexpr std::int32_t kNone = -1;

std::uint32_t new_cache_owner() {
  static std::atomic<std::uint32_t> last{0};
  return ++last;
}

// The two tokens of a merge: ["a", "b"], or "a b" as merges.txt has it. `fail` says what is wrong, and throws.
template <typename Fail>
std::pair<std::string_view, std::string_view> halves(const nlohmann::json& merge, const Fail& fail) {
  if (merge.is_array()) {
    if (merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) fail("expected two tokens");
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  if (!merge.is_string()) fail("expected two tokens");
  const std::string_view text = merge.get_ref<const std::string&>();
  const std::size_t blank = text.find(' ');
  if (blank == std::string_view::npos || text.find(' ', blank + 1) != std::string_view::npos) {
    fail(fmt::format("'{}' is no two tokens with a blank between them", text));
  }
  return {text.substr(0, blank), text.substr(blank + 1)};
}

// Old files do not say the model's type.
JsonNode vocab_of_bpe(const JsonNode& model) {
  if (const auto type = model.find("type"); type && type->string() != "BPE") {
    type->fail(fmt::format("the model '{}' is not supported, only BPE", type->string()));
  }
  return model.at("vocab");
}

}  // namespace

Bpe::Bpe(const JsonNode& node)
    : vocabulary_(vocab_of_bpe(node)),
      merges_(node.at("merges").size()),
      place_(node.place()),
      cache_owner_(new_cache_owner()) {
  node.allow_only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                   "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (const auto dropout = node.find("dropout"); dropout && dropout->value() != 0.0) {
    dropout->fail("dropout makes another encoding each time, and is not supported");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const auto affix = node.find(key); affix && !affix->string().empty()) affix->fail("is not supported");
  }
  if (const auto unk = node.find("unk_token")) {
    unk_token_ = unk->string();
    unk_ = vocabulary_.id_of(*unk_token_);
  }
  byte_fallback_ = node.boolean_or("byte_fallback", false);
  fuse_unk_ = node.boolean_or("fuse_unk", false);
  ignore_merges_ = node.boolean_or("ignore_merges", false);
  read_characters();
  read_merges(node.at("merges"));
}

void Bpe::read_merges(const JsonNode& node) {
  // Where a character is left out, those around it become neighbours.
  const bool none_left_out =
      unk_token_ || (byte_fallback_ && std::find(bytes_.begin(), bytes_.end(), kNone) == bytes_.end());
  cut_before_blanks_ = vocabulary_.id_of(kBlank).has_value() && none_left_out;
  const nlohmann::json& merges = node.array();
  std::string joined;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto fail = [&](const std::string& what) { node.item(i).fail(what); };
    const auto id = [&](std::string_view token) {
      const auto found = vocabulary_.id_of(token);
      if (!found) fail(fmt::format("'{}' is no token of the vocabulary", token));
      return *found;
    };
    if (merges[i].is_string() && merges[i].get_ref<const std::string&>().starts_with("#version")) continue;
    const auto [left, right] = halves(merges[i], fail);
    joined = left;
    joined += right;
    const std::int32_t left_id = id(left);
    const std::int32_t right_id = id(right);
    merges_.put(left_id, right_id, {static_cast<std::uint32_t>(i), id(joined)});
    if (right.starts_with(kBlank) && !left.ends_with(kBlank)) cut_before_blanks_ = false;
  }
}

void Bpe::read_characters() {
  low_symbols_.fill(kNone);
  bytes_.fill(kNone);
  for (std::int32_t id = 0; id < vocabulary_.end(); ++id) {
    if (!vocabulary_.has(id) || vocabulary_.token(id).empty()) continue;
    const std::string& token = vocabulary_.token(id);
    const Utf8Character character = utf8_character(token, 0);
    if (character.length != token.size()) continue;
    if (character.code < low_symbols_.size()) {
      low_symbols_[character.code] = id;
    } else {
      symbols_[character.code] = id;
    }
  }
  for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
    bytes_[byte] = vocabulary_.id_of(fmt::format("<0x{:02X}>", byte)).value_or(kNone);
  }
}

void Bpe::encode(std::string_view text, std::vector<std::int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto whole = vocabulary_.id_of(text)) {
      ids.push_back(*whole);
      return;
    }
  }
  if (!cut_before_blanks_) {
    encode_word(text, ids);
    return;
  }
  std::size_t begin = 0;
  for (std::size_t at = text.find(kBlank, 1); at != std::string_view::npos; at = text.find(kBlank, at + 1)) {
    if (text.substr(0, at).ends_with(kBlank)) continue;
    encode_word(text.substr(begin, at - begin), ids);
    begin = at;
  }
  encode_word(text.substr(begin), ids);
}

void Bpe::encode_word(std::string_view word, std::vector<std::int32_t>& ids) const {
  WordCache& cache = WordCache::of_this_thread();
  const auto known = cache.find(cache_owner_, word);
  if (!known.empty()) {
    ids.insert(ids.end(), known.begin(), known.end());
    return;
  }
  thread_local std::vector<std::int32_t> symbols;
  symbols.clear();
  append_symbols(word, symbols);
  merge_symbols(merges_, symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  cache.keep(cache_owner_, word, symbols);
}

std::int32_t Bpe::symbol_of(char32_t code) const {
  if (code < low_symbols_.size()) return low_symbols_[code];
  const auto found = symbols_.find(code);
  return found == symbols_.end() ? kNone : found->second;
}

// An unknown token is put when the next character that has one comes, or at the end: bytes that come between stand
// before it, as in the `tokenizers` library.
void Bpe::append_symbols(std::string_view word, std::vector<std::int32_t>& symbols) const {
  bool unknown = false;
  for (std::size_t at = 0; at < word.size();) {
    const Utf8Character character = utf8_character(word, at);
    const std::string_view bytes = word.substr(at, character.length);
    at += character.length;
    const std::int32_t symbol = symbol_of(character.code);
    if (symbol != kNone) {
      if (unknown) symbols.push_back(*unk_);
      unknown = false;
      symbols.push_back(symbol);
      continue;
    }
    if (byte_fallback_) {
      bool all = true;
      for (const char byte : bytes) all = all && bytes_[static_cast<unsigned char>(byte)] != kNone;
      if (all) {
        for (const char byte : bytes) symbols.push_back(bytes_[static_cast<unsigned char>(byte)]);
        continue;
      }
    }
    if (!unk_token_) continue;
    if (!unk_) {
      throw Error(ExitCode::bad_data,
                  fmt::format("{}: the character '{}' has no token, and the unknown token '{}' is none either", place_,
                              bytes, *unk_token_),
                  "The tokenizer does not fit the text; its vocabulary may be cut short.");
    }
    if (unknown && !fuse_unk_) symbols.push_back(*unk_);
    unknown = true;
  }
  if (unknown) symbols.push_back(*unk_);
}

}  // namespace headroom
