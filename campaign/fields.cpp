#include "campaign/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/suggest.h"
#include "campaign/duration.h"

namespace headroom::campaign {
namespace {

std::string place_of(const toml::source_region& region, const std::filesystem::path& file) {
  if (!region.begin) return file.string();  // a part of a dotted key has no place of its own
  return fmt::format("{}:{}:{}", file.string(), region.begin.line, region.begin.column);
}

class Reading {
 public:
  Reading(const std::vector<Field>& fields, const std::filesystem::path& file) : fields_(fields), file_(file) {}

  void read(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      if (const Field* field = find(name)) {
        take(*field, node);
      } else if (is_table(name)) {
        if (!node.is_table()) {
          refuse(place_of(key.source(), file_), fmt::format("{} is a table of keys", name),
                 fmt::format("Write [{}] on a line of its own and its keys below.", name));
        }
        read(*node.as_table(), name + ".");
      } else {
        refuse_unknown(place_of(key.source(), file_), name);
      }
    }
  }

  void refuse_missing() const {
    for (const Field& field : fields_) {
      if (!field.required || seen_.contains(field.name)) continue;
      refuse(file_.string(), fmt::format("the key {} is missing ({})", field.name, field.help),
             fmt::format("It wants {}.", field.wanted));
    }
  }

 private:
  const Field* find(const std::string& name) const {
    const auto found = std::find_if(fields_.begin(), fields_.end(), [&](const Field& f) { return f.name == name; });
    return found == fields_.end() ? nullptr : &*found;
  }

  bool is_table(const std::string& name) const {
    return std::any_of(fields_.begin(), fields_.end(), [&](const Field& f) { return f.name.starts_with(name + "."); });
  }

  void take(const Field& field, const toml::node& node) {
    if (!field.set(node)) {
      refuse(place_of(node.source(), file_), fmt::format("{} wants {}", field.name, field.wanted));
    }
    seen_.insert(field.name);
  }

  [[noreturn]] void refuse_unknown(const std::string& place, const std::string& name) const {
    std::vector<std::string> names;
    for (const Field& field : fields_) {
      names.push_back(field.name);
      const std::size_t dot = field.name.find('.');
      if (dot != std::string::npos) names.push_back(field.name.substr(0, dot));
    }
    std::string nearest = nearest_word(name, names);
    const std::string leaf = name.substr(name.rfind('.') + 1);
    for (const Field& field : fields_) {  // the right key in a wrong table
      if (nearest.empty() && field.name.ends_with("." + leaf)) nearest = field.name;
    }
    refuse(place, fmt::format("unknown key '{}'", name),
           (nearest.empty() ? "" : fmt::format("Did you mean '{}'? ", nearest)) +
               "`headroom campaign --help` lists every key.");
  }

  const std::vector<Field>& fields_;
  const std::filesystem::path& file_;
  std::set<std::string> seen_;
};

bool take_text(const toml::node& node, std::string& value) {
  const auto* text = node.as_string();
  if (text == nullptr) return false;
  value = text->get();
  return true;
}

}  // namespace

std::string place_of(const toml::node& node, const std::filesystem::path& file) {
  return place_of(node.source(), file);
}

void refuse(const std::string& place, const std::string& message, const std::string& hint) {
  throw Error(ExitCode::bad_config, fmt::format("{}: {}", place, message), hint);
}

Field text_field(std::string name, std::string& value, std::string help) {
  return {std::move(name), "a text", std::move(help), false,
          [&value](const toml::node& node) { return take_text(node, value); }};
}

Field lines_field(std::string name, std::vector<std::string>& value, std::string help) {
  return {std::move(name), "a list of texts", std::move(help), false, [&value](const toml::node& node) {
            const auto* array = node.as_array();
            if (array == nullptr) return false;
            value.clear();
            return std::all_of(array->begin(), array->end(),
                               [&](const toml::node& line) { return take_text(line, value.emplace_back()); });
          }};
}

Field flag_field(std::string name, bool& value, std::string help) {
  return {std::move(name), "true or false", std::move(help), false, [&value](const toml::node& node) {
            const auto* flag = node.as_boolean();
            if (flag != nullptr) value = flag->get();
            return flag != nullptr;
          }};
}

Field count_field(std::string name, int& value, int low, std::string help) {
  return {std::move(name), fmt::format("an integer, at least {}", low), std::move(help), false,
          [&value, low](const toml::node& node) {
            const auto* number = node.as_integer();
            if (number == nullptr || number->get() < low || number->get() > std::numeric_limits<int>::max()) {
              return false;
            }
            value = static_cast<int>(number->get());
            return true;
          }};
}

Field number_field(std::string name, double& value, std::string help) {
  return {std::move(name), "a number above 0", std::move(help), false, [&value](const toml::node& node) {
            if (const auto* real = node.as_floating_point()) {
              value = real->get();
            } else if (const auto* integer = node.as_integer()) {
              value = static_cast<double>(integer->get());
            } else {
              return false;
            }
            return std::isfinite(value) && value > 0.0;
          }};
}

Field choice_field(std::string name, std::string& value, std::vector<std::string> choices, std::string help) {
  const std::string wanted = fmt::format("one of {}", fmt::join(choices, ", "));
  return {std::move(name), wanted, std::move(help), false, [&value, choices](const toml::node& node) {
            return take_text(node, value) && std::find(choices.begin(), choices.end(), value) != choices.end();
          }};
}

Field duration_field(std::string name, std::int64_t& seconds, std::string help) {
  return {std::move(name), "a time as \"HH:MM:SS\" or \"D-HH:MM:SS\"", std::move(help), false,
          [&seconds](const toml::node& node) {
            std::string text;
            if (!take_text(node, text)) return false;
            seconds = parse_duration(text).value_or(0);
            return seconds > 0;
          }};
}

Field words_field(std::string name, std::vector<std::pair<std::string, std::string>>& value, std::string help) {
  return {std::move(name), "a table of texts, each in quotes", std::move(help), false,
          [&value](const toml::node& node) {
            const auto* table = node.as_table();
            if (table == nullptr) return false;
            for (const auto& [key, word] : *table) {
              std::string text;
              if (!take_text(word, text)) return false;
              value.emplace_back(std::string(key.str()), text);
            }
            return true;
          }};
}

Field special_field(std::string name, std::string wanted, std::string help,
                    std::function<bool(const toml::node&)> set) {
  return {std::move(name), std::move(wanted), std::move(help), false, std::move(set)};
}

Field required(Field field) {
  field.required = true;
  return field;
}

toml::table parse_toml(const std::string& text, const std::filesystem::path& file) {
  try {
    return toml::parse(text, file.string());
  } catch (const toml::parse_error& error) {
    refuse(place_of(error.source(), file), std::string(error.description()), "The file is not valid TOML.");
  }
}

void read_fields(const toml::table& table, const std::vector<Field>& fields, const std::filesystem::path& file) {
  Reading reading(fields, file);
  reading.read(table, "");
  reading.refuse_missing();
}

std::string describe_fields(const std::vector<Field>& fields) {
  std::string text;
  for (const Field& field : fields) {
    text += fmt::format("  {:<28} {}{}\n{:31}{}\n", field.name, field.wanted, field.required ? " (required)" : "", "",
                        field.help);
  }
  return text;
}

}  // namespace headroom::campaign
