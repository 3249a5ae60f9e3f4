#include "data/tokenizer/sentencepiece_encoder.h"

#include <sentencepiece_processor.h>

#include "base/error.h"

namespace headroom {
namespace {

class SentencePieceEncoder : public TextEncoder {
 public:
  SentencePieceEncoder(const std::string& bytes, const std::filesystem::path& file) {
    namespace util = sentencepiece::util;
    const auto status = bytes.empty() ? util::Status(util::StatusCode::kDataLoss, "empty")
                                      : processor_.LoadFromSerializedProto({bytes.data(), bytes.size()});
    if (!status.ok()) {
      throw Error(ExitCode::bad_data,
                  fmt::format("{} is no SentencePiece model ({})", file.string(), status.ToString()),
                  "A tokenizer.model comes from `headroom tokenize`, spm_train or a published model.");
    }
    const std::vector<int> line_break = ids_of("\n");
    dummy_prefix_ =
        line_break.size() == 2 && processor_.IdToPiece(line_break[0]) == "\u2581" && processor_.IsByte(line_break[1]);
  }

  void encode(std::string_view text, bool continues, std::vector<std::int32_t>& ids) const override {
    if (!continues || !dummy_prefix_) {
      const std::vector<int> made = ids_of(text);
      ids.insert(ids.end(), made.begin(), made.end());
      return;
    }
    // A line break is a piece of its own, so nothing merges across it: put one in front and drop what it gave.
    const bool at_break = text.starts_with('\n');
    const std::vector<int> made = ids_of(at_break ? std::string(text) : "\n" + std::string(text));
    ids.insert(ids.end(), made.begin() + (at_break ? 1 : 2), made.end());
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    HEADROOM_CHECK(status.ok(), "SentencePiece cannot decode {} ids: {}", ids.size(), status.ToString());
    return text;
  }

  std::string piece(std::int32_t id) const override { return processor_.IdToPiece(id); }
  std::int32_t vocab_size() const override { return processor_.GetPieceSize(); }
  bool has_piece(std::int32_t id) const override { return id >= 0 && id < vocab_size(); }

  std::optional<std::int32_t> id_of(std::string_view token) const override {
    const int id = processor_.PieceToId({token.data(), token.size()});  // that of the unknown piece, if there is none
    if (!has_piece(id) || processor_.IdToPiece(id) != token) return std::nullopt;
    return id;
  }

  Conventions said() const {
    Conventions said;
    if (processor_.bos_id() >= 0) said.bos = processor_.bos_id();
    if (processor_.eos_id() >= 0) said.eos = processor_.eos_id();
    said.begins_with_bos = true;  // LLaMA's convention
    return said;
  }

 private:
  std::vector<int> ids_of(std::string_view text) const {
    std::vector<int> ids;
    const auto status = processor_.Encode({text.data(), text.size()}, &ids);
    HEADROOM_CHECK(status.ok(), "SentencePiece cannot encode a text of {} bytes: {}", text.size(), status.ToString());
    return ids;
  }

  sentencepiece::SentencePieceProcessor processor_;
  bool dummy_prefix_ = false;  // the model puts a word boundary before every text
};

}  // namespace

SentencePieceModel read_sentencepiece(const std::string& bytes, const std::filesystem::path& file) {
  auto encoder = std::make_unique<SentencePieceEncoder>(bytes, file);
  const Conventions said = encoder->said();
  return {std::move(encoder), said};
}

}  // namespace headroom
