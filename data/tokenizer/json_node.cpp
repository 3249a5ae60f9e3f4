#include "data/tokenizer/json_node.h"

#include <algorithm>

#include "base/error.h"
#include "data/tokenizer/characters.h"

namespace headroom {

std::string JsonNode::place() const {
  return key_.empty() ? file_->string() : fmt::format("{}: {}", file_->string(), key_);
}

void JsonNode::fail(const std::string& what, const std::string& hint) const {
  throw Error(ExitCode::bad_data, fmt::format("{}: {}", place(), what), hint);
}

JsonNode JsonNode::at(const std::string& key) const {
  const nlohmann::json& members = object();
  const auto found = members.find(key);
  if (found == members.end()) fail(fmt::format("the key '{}' is missing", key));
  JsonNode member(*found, *file_);
  member.key_ = key_.empty() ? key : key_ + "." + key;
  return member;
}

std::optional<JsonNode> JsonNode::find(const std::string& key) const {
  const nlohmann::json& members = object();
  const auto found = members.find(key);
  if (found == members.end() || found->is_null()) return std::nullopt;
  return at(key);
}

JsonNode JsonNode::item(std::size_t index) const {
  JsonNode item(array().at(index), *file_);
  item.key_ = fmt::format("{}[{}]", key_, index);
  return item;
}

std::size_t JsonNode::size() const {
  return array().size();
}

const std::string& JsonNode::string() const {
  return of_kind(value_->is_string(), "a string").get_ref<const std::string&>();
}

bool JsonNode::boolean() const {
  return of_kind(value_->is_boolean(), "true or false").get<bool>();
}

std::uint64_t JsonNode::unsigned_integer() const {
  return of_kind(value_->is_number_unsigned(), "a whole number from 0 on").get<std::uint64_t>();
}

std::int32_t JsonNode::token_id() const {
  const std::uint64_t id = unsigned_integer();
  if (id > 0x7FFFFFFF) fail(fmt::format("{} is no token id: they end at 2147483647", id));
  return static_cast<std::int32_t>(id);
}

bool JsonNode::boolean_or(const std::string& key, bool missing) const {
  const auto member = find(key);
  return member ? member->boolean() : missing;
}

const std::string& JsonNode::character() const {
  const std::string& text = string();
  if (text.empty() || utf8_character(text, 0).length != text.size()) fail("expected one character");
  return text;
}

const nlohmann::json& JsonNode::object() const {
  return of_kind(value_->is_object(), "an object");
}

const nlohmann::json& JsonNode::array() const {
  return of_kind(value_->is_array(), "an array");
}

void JsonNode::allow_only(std::initializer_list<std::string_view> keys) const {
  for (const auto& [key, value] : object().items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      fail(fmt::format("the key '{}' is not supported", key), "docs/tokenizers.md says what is read.");
    }
  }
}

const std::string& JsonNode::type() const {
  return at("type").string();
}

const nlohmann::json& JsonNode::of_kind(bool is, const char* kind) const {
  if (!is) fail(fmt::format("expected {}, found {}", kind, value_->is_null() ? "null" : value_->type_name()));
  return *value_;
}

}  // namespace headroom
