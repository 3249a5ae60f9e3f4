#include "model/huggingface/config_json.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/json_file.h"

namespace headroom::huggingface {
namespace {

// What a message may quote whole.
bool is_short_text(const nlohmann::json& value) {
  constexpr std::size_t kLongest = 100;
  return value.is_string() && value.get_ref<const std::string&>().size() <= kLongest;
}

}  // namespace

ConfigJson ConfigJson::load(const std::filesystem::path& file) {
  nlohmann::json json;
  try {
    json = read_json(file, ExitCode::bad_checkpoint);
  } catch (const Error& error) {
    if (error.code() == ExitCode::bad_checkpoint) throw;
    throw Error(ExitCode::bad_checkpoint, error.what(), "A Hugging Face checkpoint is a directory with a config.json.");
  }
  if (!json.is_object()) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("{}: is no JSON object", file.string()), "Fetch it again.");
  }
  return {std::move(json), file};
}

const nlohmann::json* ConfigJson::value(const std::string& key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

std::int64_t ConfigJson::natural(const std::string& key, std::int64_t otherwise) const {
  // Of anything a model has: products of three of them do not overflow where two are widths of one tensor.
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_number_integer() || !(*found >= 0) || !(*found <= kMost)) {
    refuse(key, fmt::format("wants an integer from 0 to {}, not {}", kMost, excerpt(*found)));
  }
  return found->get<std::int64_t>();
}

std::int64_t ConfigJson::positive(const std::string& key, std::int64_t otherwise) const {
  const std::int64_t number = natural(key, otherwise);
  if (number < 1) refuse(key, "wants an integer of at least 1");
  return number;
}

double ConfigJson::real(const std::string& key, double otherwise) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_number() || !std::isfinite(found->get<double>())) {
    refuse(key, fmt::format("wants a number, not {}", excerpt(*found)));
  }
  return found->get<double>();
}

double ConfigJson::positive_real(const std::string& key, double otherwise) const {
  const double number = real(key, otherwise);
  if (!(number > 0.0)) refuse(key, fmt::format("wants a number above 0, not {}", number));
  return number;
}

bool ConfigJson::flag(const std::string& key, bool otherwise) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!found->is_boolean()) refuse(key, fmt::format("wants true or false, not {}", excerpt(*found)));
  return found->get<bool>();
}

std::string ConfigJson::text(const std::string& key, const std::string& otherwise) const {
  const nlohmann::json* found = value(key);
  if (found == nullptr) return otherwise;
  if (!is_short_text(*found)) refuse(key, fmt::format("wants a short text, not {}", excerpt(*found)));
  return found->get<std::string>();
}

std::vector<std::string> ConfigJson::texts(const std::string& key) const {
  const nlohmann::json* found = value(key);
  std::vector<std::string> all;
  if (found == nullptr) return all;
  if (!found->is_array()) refuse(key, "wants a list of short texts");
  for (const nlohmann::json& one : *found) {
    if (!is_short_text(one)) refuse(key, "wants a list of short texts");
    all.push_back(one.get<std::string>());
  }
  return all;
}

std::vector<double> ConfigJson::positive_reals(const std::string& key) const {
  const nlohmann::json* found = value(key);
  std::vector<double> all;
  if (found == nullptr) return all;
  if (!found->is_array()) refuse(key, "wants a list of numbers above 0");
  for (const nlohmann::json& one : *found) {
    if (!one.is_number() || !std::isfinite(one.get<double>()) || !(one.get<double>() > 0.0)) {
      refuse(key, "wants a list of numbers above 0");
    }
    all.push_back(one.get<double>());
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
