#include "data/tokenizer.h"

#include <sentencepiece_processor.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace headroom {

struct Tokenizer::Implementation {
  sentencepiece::SentencePieceProcessor processor;
  std::string fingerprint;
  bool dummy_prefix = false;  // the model puts a word boundary before every text

  std::vector<int> encode(std::string_view text) const {
    std::vector<int> ids;
    const auto status = processor.Encode({text.data(), text.size()}, &ids);
    HEADROOM_CHECK(status.ok(), "SentencePiece cannot encode a text of {} bytes: {}", text.size(), status.ToString());
    return ids;
  }
};

Tokenizer::Tokenizer() : implementation_(std::make_unique<Implementation>()) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& model_file) {
  const std::string model = read_file(model_file);
  Tokenizer tokenizer;
  Implementation& self = *tokenizer.implementation_;
  const auto status = model.empty() ? sentencepiece::util::Status(sentencepiece::util::StatusCode::kDataLoss, "empty")
                                    : self.processor.LoadFromSerializedProto({model.data(), model.size()});
  if (!status.ok()) {
    throw Error(ExitCode::bad_data,
                fmt::format("{} is no SentencePiece model ({})", model_file.string(), status.ToString()),
                "A tokenizer.model comes from `headroom tokenize`, spm_train or a published model.");
  }
  self.fingerprint = hex_hash(model);
  const std::vector<int> line_break = self.encode("\n");
  self.dummy_prefix = line_break.size() == 2 && self.processor.IdToPiece(line_break[0]) == "\u2581" &&
                      self.processor.IsByte(line_break[1]);
  return tokenizer;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  return implementation_->encode(text);
}

std::vector<std::int32_t> Tokenizer::encode_continuation(std::string_view text) const {
  const Implementation& self = *implementation_;
  if (!self.dummy_prefix) return self.encode(text);
  // A line break is a piece of its own, so nothing merges across it: put one in front and drop what it gave.
  const bool at_break = text.starts_with('\n');
  std::vector<int> ids = self.encode(at_break ? std::string(text) : "\n" + std::string(text));
  ids.erase(ids.begin(), ids.begin() + (at_break ? 1 : 2));
  return ids;
}

std::string Tokenizer::decode(const std::vector<std::int32_t>& ids) const {
  for (const std::int32_t id : ids) piece(id);  // the library aborts on ids out of range
  std::string text;
  const auto status = implementation_->processor.Decode(ids, &text);
  HEADROOM_CHECK(status.ok(), "SentencePiece cannot decode {} ids: {}", ids.size(), status.ToString());
  return text;
}

std::string Tokenizer::piece(std::int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw Error(ExitCode::bad_data, fmt::format("token id {} is outside the tokenizer's {} pieces", id, vocab_size()),
                "The ids come from another tokenizer.");
  }
  return implementation_->processor.IdToPiece(id);
}

std::int32_t Tokenizer::vocab_size() const {
  return implementation_->processor.GetPieceSize();
}

std::int32_t Tokenizer::bos() const {
  const int id = implementation_->processor.bos_id();
  if (id < 0) {
    throw Error(ExitCode::bad_data, "the tokenizer has no BOS piece",
                "Headroom begins every document with one: choose a tokenizer that has it (spm_train --bos_id).");
  }
  return id;
}

const std::string& Tokenizer::fingerprint() const {
  return implementation_->fingerprint;
}

}  // namespace headroom
