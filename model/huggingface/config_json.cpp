#include "model/huggingface/config_json.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/file.h"

namespace headroom::huggingface {

ConfigJson ConfigJson::load(const std::filesystem::path& file) {
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error& error) {
    throw Error(ExitCode::bad_checkpoint, error.what(), "A Hugging Face checkpoint is a directory with a config.json.");
  }
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("{}: is no JSON object", file.string()), "Fetch it again.");
  }
  return {std::move(json), file};
}

const nlohmann::json* ConfigJson::value(const std::string& key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

std::int64_t ConfigJson::number_of(const std::string& key, std::int64_t otherwise) const {
  // Of anything a model has: products of three of them do not overflow where two are widths of one tensor.
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_number_integer() || !(*found >= 0) || !(*found <= kMost)) {
    refuse(key, fmt::format("wants an integer from 0 to {}, not {}", kMost, found->dump()));
  }
  return found->get<std::int64_t>();
}

std::int64_t ConfigJson::count(const std::string& key, std::int64_t otherwise) const {
  const std::int64_t number = number_of(key, otherwise);
  if (number < 1) refuse(key, "wants an integer of at least 1");
  return number;
}

double ConfigJson::number(const std::string& key, double otherwise) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_number() || !std::isfinite(found->get<double>())) {
    refuse(key, fmt::format("wants a number, not {}", found->dump()));
  }
  return found->get<double>();
}

bool ConfigJson::flag(const std::string& key, bool otherwise) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_boolean()) refuse(key, fmt::format("wants true or false, not {}", found->dump()));
  return found->get<bool>();
}

std::string ConfigJson::text(const std::string& key, const std::string& otherwise) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_string()) refuse(key, fmt::format("wants a text, not {}", found->dump()));
  return found->get<std::string>();
}

std::vector<std::string> ConfigJson::texts(const std::string& key) const {
  const nlohmann::json* found = value(key);
  std::vector<std::string> all;
  if (found == nullptr) return all;
  if (!found->is_array()) refuse(key, "wants a list of texts");
  for (const nlohmann::json& one : *found) {
    if (!one.is_string()) refuse(key, "wants a list of texts");
    all.push_back(one.get<std::string>());
  }
  return all;
}

std::vector<std::int32_t> ConfigJson::ids(const std::string& key) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return {};
  std::vector<std::int32_t> all;
  for (const nlohmann::json& one : found->is_array() ? *found : nlohmann::json::array({*found})) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    if (!one.is_number_integer() || !(one >= -1) || !(one <= kMost)) refuse(key, "wants a token id, or a list of them");
    all.push_back(one.get<std::int32_t>());
  }
  return all;
}

std::optional<ConfigJson> ConfigJson::table(const std::string& key) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return {};
  if (!found->is_object()) refuse(key, "wants an object");
  ConfigJson inner(*found, file_);
  inner.prefix_ = prefix_ + key + ".";
  return inner;
}

void ConfigJson::expect_flag(const std::string& key, bool only, bool otherwise) const {
  if (flag(key, otherwise) != only) refuse(key, fmt::format("{} is not supported", !only));
}

void ConfigJson::refuse(const std::string& key, const std::string& why, const std::string& hint) const {
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: {}{} {}", file_.string(), prefix_, key, why), hint);
}

}  // namespace headroom::huggingface
