// A place in a JSON file that others wrote (base/json_file.h): what is read from it is checked, and every error names
// file and key.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace headroom {

// Refers to a value that must outlive it. All throw ExitCode::bad_data naming file, key and what was expected.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, const std::filesystem::path& file) : value_(&value), file_(&file) {}

  const nlohmann::json& value() const { return *value_; }
  // "DIRECTORY/tokenizer.json: model.merges[12]"
  std::string place() const;
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const;

  bool is_null() const { return value_->is_null(); }
  // The member, which must be there.
  JsonNode at(const std::string& key) const;
  // The member, or none where it is missing or null.
  std::optional<JsonNode> find(const std::string& key) const;
  JsonNode item(std::size_t index) const;
  std::size_t size() const;  // of an array

  const std::string& string() const;
  bool boolean() const;
  std::uint64_t unsigned_integer() const;
  std::int32_t token_id() const;  // 0 to 2^31 - 1
  bool boolean_or(const std::string& key, bool missing) const;
  // A string of one character.
  const std::string& character() const;

  const nlohmann::json& object() const;
  const nlohmann::json& array() const;
  // Refuses members that are not among `keys`: a setting that is not read could change ids.
  void allow_only(std::initializer_list<std::string_view> keys) const;
  // The member "type" of an object.
  const std::string& type() const;

 private:
  const nlohmann::json& of_kind(bool is, const char* kind) const;

  const nlohmann::json* value_;
  const std::filesystem::path* file_;
  std::string key_;
};

}  // namespace headroom
