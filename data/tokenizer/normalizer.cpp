#include "data/tokenizer/normalizer.h"

#include <memory>
#include <utility>

#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/characters.h"
#include "data/tokenizer/replacement.h"
#include "data/tokenizer/unicode_forms.h"

namespace headroom {
namespace {

void lowercase(std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character character = utf8_character(text, at);
    append_lowercase(character.code, out);
    at += character.length;
  }
  text = std::move(out);
}

void strip(std::string& text, bool left, bool right) {
  std::size_t begin = 0;
  while (left && begin < text.size()) {
    const Utf8Character character = utf8_character(text, begin);
    if (!is_white_space(character.code)) break;
    begin += character.length;
  }
  std::size_t end = text.size();
  while (right && end > begin) {
    std::size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_white_space(utf8_character(text, last).code)) break;
    end = last;
  }
  text = text.substr(begin, end - begin);
}

}  // namespace

Normalizer::Normalizer(const JsonNode& node) {
  add(node);
}

void Normalizer::apply(std::string& text, bool continues) const {
  for (const Step& step : steps_) step(text, continues);
}

void Normalizer::add(const JsonNode& node) {
  static constexpr std::pair<const char*, UnicodeForm> kForms[] = {
      {"NFC", UnicodeForm::nfc}, {"NFD", UnicodeForm::nfd}, {"NFKC", UnicodeForm::nfkc}, {"NFKD", UnicodeForm::nfkd}};
  const std::string& type = node.type();
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    node.allow_only({"type"});
    steps_.emplace_back([form = form](std::string& text, bool) { normalize(form, text); });
    return;
  }
  if (type == "Sequence") {
    node.allow_only({"type", "normalizers"});
    const JsonNode parts = node.at("normalizers");
    for (std::size_t i = 0; i < parts.size(); ++i) add(parts.item(i));
  } else if (type == "Replace") {
    const auto replacement = std::make_shared<const Replacement>(node);
    steps_.emplace_back([replacement](std::string& text, bool) { replacement->apply(text); });
  } else if (type == "Prepend") {
    node.allow_only({"type", "prepend"});
    steps_.emplace_back([prefix = node.at("prepend").string()](std::string& text, bool continues) {
      if (!text.empty() && !continues) text.insert(0, prefix);
    });
  } else if (type == "Lowercase") {
    node.allow_only({"type"});
    steps_.emplace_back([](std::string& text, bool) { lowercase(text); });
  } else if (type == "Strip") {
    node.allow_only({"type", "strip_left", "strip_right"});
    const bool left = node.at("strip_left").boolean();
    const bool right = node.at("strip_right").boolean();
    steps_.emplace_back([left, right](std::string& text, bool) { strip(text, left, right); });
  } else if (type == "ByteLevel") {
    node.allow_only({"type"});
    steps_.emplace_back([](std::string& text, bool) { text = to_byte_level(text); });
  } else {
    node.at("type").fail(fmt::format("the normalizer '{}' is not supported", type), "docs/tokenizers.md says what is.");
  }
}

}  // namespace headroom
