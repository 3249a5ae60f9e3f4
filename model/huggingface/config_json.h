// A checkpoint's config.json, asked for one key after another. Every complaint names the file and the key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace headroom::huggingface {

class ConfigJson {
 public:
  // Throws ExitCode::bad_checkpoint where the file is missing, no JSON object, or none that is read (base/json_file.h).
  static ConfigJson load(const std::filesystem::path& file);
  ConfigJson(nlohmann::json json, std::filesystem::path file) : json_(std::move(json)), file_(std::move(file)) {}

  // Absent keys and null have the default. Throw ExitCode::bad_checkpoint for a value of another type or range.
  std::int64_t natural(const std::string& key, std::int64_t otherwise) const;   // at least 0
  std::int64_t positive(const std::string& key, std::int64_t otherwise) const;  // at least 1
  double real(const std::string& key, double otherwise) const;                  // finite
  double positive_real(const std::string& key, double otherwise) const;         // above 0
  bool flag(const std::string& key, bool otherwise) const;
  std::string text(const std::string& key, const std::string& otherwise) const;  // of at most 100 bytes
  std::vector<std::string> texts(const std::string& key) const;                  // the same each; empty: not given
  std::vector<double> positive_reals(const std::string& key) const;              // empty: not given
  std::vector<std::int32_t> ids(const std::string& key) const;                   // one or a list; empty: not given

  bool has(const std::string& key) const { return json_.contains(key); }  // null too
  bool given(const std::string& key) const { return value(key) != nullptr; }
  bool null(const std::string& key) const { return json_.contains(key) && json_[key].is_null(); }
  // An object under the key; nullopt where there is none or null.
  std::optional<ConfigJson> table(const std::string& key) const;

  // What this program does not do is refused, not passed over.
  void expect_flag(const std::string& key, bool only, bool otherwise) const;
  [[noreturn]] void refuse(const std::string& key, const std::string& why, const std::string& hint = {}) const;

  const std::filesystem::path& file() const { return file_; }

 private:
  const nlohmann::json* value(const std::string& key) const;  // null: absent or null

  nlohmann::json json_;
  std::filesystem::path file_;
  std::string prefix_;  // "rope_scaling."
};

}  // namespace headroom::huggingface
