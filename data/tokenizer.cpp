#include "data/tokenizer.h"

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json_file.h"
#include "data/tokenizer/companions.h"
#include "data/tokenizer/json_encoder.h"
#include "data/tokenizer/json_node.h"
#include "data/tokenizer/sentencepiece_encoder.h"
#include "data/tokenizer/special_ids.h"
#include "data/tokenizer/tokenizer_files.h"
#include "data/tokenizer/vocab_and_merges.h"
#include "data/utf8.h"

namespace headroom {

namespace fs = std::filesystem;

struct Tokenizer::Implementation {
  TokenizerFiles files;
  Companions companions;
  std::unique_ptr<TextEncoder> encoder;
  SpecialIds special;
  std::string fingerprint;

  std::vector<std::int32_t> encode(std::string_view text, bool continues) const {
    std::vector<std::int32_t> ids;
    if (valid_utf8_prefix(text) == text.size()) {
      encoder->encode(text, continues, ids);
    } else {
      std::string repaired;
      append_valid_utf8(text, repaired);
      encoder->encode(repaired, continues, ids);
    }
    return ids;
  }

  void check(std::int32_t id) const {
    if (encoder->has_piece(id)) return;
    throw Error(ExitCode::bad_data,
                fmt::format("token id {} is {} the tokenizer's {} pieces", id,
                            id >= 0 && id < encoder->vocab_size() ? "none of" : "outside", encoder->vocab_size()),
                "The ids come from another tokenizer.");
  }
};

Tokenizer::Tokenizer() : implementation_(std::make_unique<Implementation>()) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const fs::path& path) {
  Tokenizer tokenizer;
  Implementation& self = *tokenizer.implementation_;
  self.files = find_tokenizer_files(path);
  if (!self.files.directory.empty()) self.companions = read_companions(self.files.directory);
  std::string bytes;
  std::string facts;
  SpecialIds own;  // what the file says by itself
  if (self.files.form == TokenizerForm::sentencepiece) {
    bytes = read_file(self.files.main);
    SentencePieceModel model = read_sentencepiece(bytes, self.files.main);
    self.encoder = std::move(model.encoder);
    refuse_tokens_beyond(*self.encoder, self.companions, self.files.main);
    own = special_ids(*self.encoder, model.said, {});
    self.special = special_ids(*self.encoder, model.said, self.companions);
  } else {
    nlohmann::json json;
    if (self.files.form == TokenizerForm::tokenizer_json) {
      json = read_json(self.files.main);
      bytes = read_file(self.files.main);
    } else {
      json = tokenizer_json_of(self.files.main, self.files.merges, self.companions);
      bytes = read_file(self.files.main) + '\0' + read_file(self.files.merges);
      facts = json.at("added_tokens").dump();
    }
    JsonTokenizer read = read_tokenizer_json(json, self.files.main);
    self.encoder = std::move(read.encoder);
    own = special_ids(*self.encoder, read.said, {});
    self.special = special_ids(*self.encoder, read.said, self.companions);
  }
  if (!(own == self.special)) facts += in_words(self.special);
  self.fingerprint = hex_hash(facts.empty() ? bytes : bytes + '\0' + facts);
  return tokenizer;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  return implementation_->encode(text, /*continues=*/false);
}

std::vector<std::int32_t> Tokenizer::encode_continuation(std::string_view text) const {
  return implementation_->encode(text, /*continues=*/true);
}

std::vector<std::int32_t> Tokenizer::encode_with_special(std::string_view text) const {
  const std::vector<std::int32_t> middle = encode(text);
  std::vector<std::int32_t> ids = before();
  ids.insert(ids.end(), middle.begin(), middle.end());
  ids.insert(ids.end(), after().begin(), after().end());
  return ids;
}

std::string Tokenizer::decode(const std::vector<std::int32_t>& ids) const {
  for (const std::int32_t id : ids) implementation_->check(id);
  return implementation_->encoder->decode(ids);
}

std::string Tokenizer::piece(std::int32_t id) const {
  implementation_->check(id);
  return implementation_->encoder->piece(id);
}

std::int32_t Tokenizer::vocab_size() const {
  return implementation_->encoder->vocab_size();
}

std::int32_t Tokenizer::bos() const {
  if (implementation_->special.bos) return *implementation_->special.bos;
  const std::optional<std::string>& named = implementation_->companions.bos;
  throw Error(ExitCode::bad_data,
              named ? fmt::format("the tokenizer's BOS is said to be '{}', which {} does not have", *named,
                                  implementation_->files.main.string())
                    : fmt::format("the tokenizer {} has no BOS piece", implementation_->files.main.string()),
              "Headroom begins every document with one: choose a tokenizer that has it (spm_train --bos_id), or name "
              "one of its tokens as \"bos_token\" in a tokenizer_config.json beside it.");
}

bool Tokenizer::has_bos() const {
  return implementation_->special.bos.has_value();
}

std::optional<std::int32_t> Tokenizer::eos() const {
  return implementation_->special.eos;
}

const std::vector<std::int32_t>& Tokenizer::before() const {
  return implementation_->special.before;
}

const std::vector<std::int32_t>& Tokenizer::after() const {
  return implementation_->special.after;
}

const std::string& Tokenizer::fingerprint() const {
  return implementation_->fingerprint;
}

std::string Tokenizer::copy_to(const fs::path& directory) const {
  const TokenizerFiles& files = implementation_->files;
  const auto copy = [&](const fs::path& file, const fs::path& name) {
    write_file_atomically(directory / name, read_file(file));
  };
  copy(files.main, files.canonical_name());
  if (!files.merges.empty()) copy(files.merges, files.merges.filename());
  for (const fs::path& file : implementation_->companions.files) copy(file, file.filename());
  return files.canonical_name();
}

}  // namespace headroom
