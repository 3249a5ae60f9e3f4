#include "data/tokenizer/decoder.h"

#include <cctype>
#include <memory>
#include <optional>

#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/characters.h"
#include "data/tokenizer/metaspace.h"
#include "data/tokenizer/replacement.h"
#include "data/utf8.h"

namespace headroom {
namespace {

std::string joined(const std::vector<std::string>& tokens, std::string_view between = {}) {
  std::string text;
  for (const std::string& token : tokens) {
    if (&token != &tokens.front()) text += between;
    text += token;
  }
  return text;
}

// A token that is not all of the alphabet (an added one with a blank in it) stands for itself.
void decode_byte_level(std::vector<std::string>& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) bytes += from_byte_level(token).value_or(token);
  std::string text;
  append_valid_utf8(bytes, text);
  tokens = {std::move(text)};
}

// Of "<0x0A>".
std::optional<char> byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [&](std::size_t i) { return static_cast<unsigned char>(token[i]); };
  if (std::isxdigit(digit(3)) == 0 || std::isxdigit(digit(4)) == 0) return std::nullopt;
  return static_cast<char>(std::stoi(token.substr(3, 2), nullptr, 16));
}

// Bytes in a row become text; where they are no UTF-8, each becomes U+FFFD.
void decode_bytes(std::vector<std::string>& tokens) {
  std::vector<std::string> decoded;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (valid_utf8_prefix(bytes) == bytes.size()) {
      decoded.push_back(bytes);
    } else {
      decoded.insert(decoded.end(), bytes.size(), "\uFFFD");
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_of(token)) {
      bytes += *byte;
    } else {
      flush();
      decoded.push_back(std::move(token));
    }
  }
  flush();
  tokens = std::move(decoded);
}

// Up to `start` times `content` from a token's begin, and up to `stop` times from its end.
void strip(std::string& token, const std::string& content, std::uint64_t start, std::uint64_t stop) {
  std::size_t begin = 0;
  for (std::uint64_t i = 0; i < start && std::string_view(token).substr(begin).starts_with(content); ++i) {
    begin += content.size();
  }
  std::size_t end = token.size();
  for (std::uint64_t i = 0; i < stop && end > begin && std::string_view(token).substr(0, end).ends_with(content); ++i) {
    end -= content.size();
  }
  token = token.substr(begin, end - begin);
}

}  // namespace

Decoder::Decoder(const JsonNode& node) : none_(false) {
  add(node);
}

std::string Decoder::decode(std::vector<std::string> tokens) const {
  if (none_) return joined(tokens, " ");
  for (const auto& step : steps_) step(tokens);
  return joined(tokens);
}

void Decoder::add(const JsonNode& node) {
  const std::string& type = node.type();
  if (type == "Sequence") {
    node.allow_only({"type", "decoders"});
    const JsonNode parts = node.at("decoders");
    for (std::size_t i = 0; i < parts.size(); ++i) add(parts.item(i));
  } else if (type == "ByteLevel") {
    node.allow_only({"type", "add_prefix_space", "trim_offsets", "use_regex"});  // which say nothing here
    steps_.emplace_back(decode_byte_level);
  } else if (type == "ByteFallback") {
    node.allow_only({"type"});
    steps_.emplace_back(decode_bytes);
  } else if (type == "Fuse") {
    node.allow_only({"type"});
    steps_.emplace_back([](std::vector<std::string>& tokens) { tokens = {joined(tokens)}; });
  } else if (type == "Replace") {
    const auto replacement = std::make_shared<const Replacement>(node);
    steps_.emplace_back([replacement](std::vector<std::string>& tokens) {
      for (std::string& token : tokens) replacement->apply(token);
    });
  } else if (type == "Metaspace") {
    steps_.emplace_back([metaspace = Metaspace(node)](std::vector<std::string>& tokens) { metaspace.decode(tokens); });
  } else if (type == "Strip") {
    add_strip(node);
  } else {
    node.at("type").fail(fmt::format("the decoder '{}' is not supported", type), "docs/tokenizers.md says what is.");
  }
}

void Decoder::add_strip(const JsonNode& node) {
  node.allow_only({"type", "content", "start", "stop"});
  const std::string content = node.at("content").character();
  const std::uint64_t start = node.at("start").unsigned_integer();
  const std::uint64_t stop = node.at("stop").unsigned_integer();
  steps_.emplace_back([content, start, stop](std::vector<std::string>& tokens) {
    for (std::string& token : tokens) strip(token, content, start, stop);
  });
}

}  // namespace headroom
