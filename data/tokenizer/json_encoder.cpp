#include "data/tokenizer/json_encoder.h"

#include <algorithm>

#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/decoder.h"
#include "data/tokenizer/normalizer.h"
#include "data/tokenizer/post_processor.h"
#include "data/tokenizer/pre_tokenizer.h"
#include "data/utf8.h"

namespace headroom {
namespace {

// Bytes as a person reads them: blanks visible, what is no text in hex.
std::string readable(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t valid = valid_utf8_prefix(bytes.substr(at));
    for (const char c : bytes.substr(at, valid)) {
      if (c == ' ') {
        out += "\u2581";
      } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
        out += fmt::format("<0x{:02X}>", static_cast<unsigned char>(c));
      } else {
        out += c;
      }
    }
    at += valid;
    if (at < bytes.size()) out += fmt::format("<0x{:02X}>", static_cast<unsigned char>(bytes[at++]));
  }
  return out;
}

class JsonEncoder : public TextEncoder {
 public:
  explicit JsonEncoder(const JsonNode& root) : model_(root.at("model")) {
    if (const auto node = root.find("normalizer")) normalizer_ = Normalizer(*node);
    if (const auto node = root.find("pre_tokenizer")) pre_tokenizer_ = PreTokenizer(*node);
    if (const auto node = root.find("decoder")) decoder_ = Decoder(*node);
    if (const auto node = root.find("added_tokens")) added_ = AddedTokens(*node, model_.vocabulary(), normalizer_);
    end_ = model_.vocabulary().end();
    for (const AddedToken& token : added_.list()) end_ = std::max(end_, token.id + 1);
  }

  void encode(std::string_view text, bool continues, std::vector<std::int32_t>& ids) const override {
    thread_local Pieces pieces;
    pieces.begin(text, continues);
    added_.cut_before_normalizing(pieces);
    if (!normalizer_.empty()) {
      thread_local std::string normalized;
      pieces.rewrite([&](const Piece& piece) {
        normalized = piece.text;
        normalizer_.apply(normalized, piece.continues);
        pieces.next.push_back({pieces.arena.keep(normalized), kNoToken, piece.at_start, piece.continues});
      });
    }
    added_.cut_after_normalizing(pieces);
    pre_tokenizer_.apply(pieces);
    for (const Piece& piece : pieces.list) {
      if (piece.token != kNoToken) {
        ids.push_back(piece.token);
      } else if (!piece.text.empty()) {
        model_.encode(piece.text, ids);
      }
    }
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const std::int32_t id : ids) {
      const AddedToken* added = added_.by_id(id);
      tokens.push_back(added != nullptr ? added->decoded : model_.vocabulary().token(id));
    }
    return decoder_.decode(std::move(tokens));
  }

  std::string piece(std::int32_t id) const override {
    if (const AddedToken* added = added_.by_id(id)) return added->content;
    const std::string& token = model_.vocabulary().token(id);
    if (!pre_tokenizer_.byte_level()) return token;
    const auto bytes = from_byte_level(token);
    return bytes ? readable(*bytes) : token;
  }

  std::int32_t vocab_size() const override { return end_; }
  bool has_piece(std::int32_t id) const override { return model_.vocabulary().has(id) || added_.by_id(id) != nullptr; }

  std::optional<std::int32_t> id_of(std::string_view token) const override {
    const auto added = added_.id_of(token);
    return added ? added : model_.vocabulary().id_of(token);
  }

 private:
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  Bpe model_;
  Decoder decoder_;
  AddedTokens added_;
  std::int32_t end_ = 0;
};

}  // namespace

JsonTokenizer read_tokenizer_json(const nlohmann::json& json, const std::filesystem::path& file) {
  const JsonNode root(json, file);
  root.allow_only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
                   "decoder", "model"});
  // Truncation and padding are how texts are batched, not what their ids are; they are left to whoever batches.
  if (const auto version = root.find("version"); version && version->string() != "1.0") {
    version->fail(fmt::format("version '{}' is not known, only 1.0", version->string()));
  }
  JsonTokenizer tokenizer;
  tokenizer.encoder = std::make_unique<JsonEncoder>(root);
  if (const auto node = root.find("post_processor")) {
    const Surroundings around =
        read_post_processor(*node, [&](std::int32_t id) { return tokenizer.encoder->has_piece(id); });
    if (around.said) {
      tokenizer.said.before = around.before;
      tokenizer.said.after = around.after;
    }
    if (around.before.size() == 1) tokenizer.said.bos = around.before.front();
  }
  return tokenizer;
}

}  // namespace headroom
