#include "analysis/evaluation/task_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "analysis/evaluation/text_encoding.h"
#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"

namespace headroom::evaluation {
namespace {

using nlohmann::json;

constexpr const char* kForms =
    "A line is {\"context\": ..., \"choices\": [...], \"answer\": 0}, or with \"contexts\" and \"continuation\", or "
    "with "
    "\"labels\": docs/evaluation.md.";

// One line, asked for one key after another.
class Line {
 public:
  Line(std::string_view text, const std::filesystem::path& file, std::int64_t number) : file_(file), number_(number) {
    json_ = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json_.is_object()) {
      refuse(json_.is_discarded() ? "is no JSON" : "is no JSON object", kForms);
    }
    const std::vector<std::string> known{"id",           "context",   "choices", "contexts",
                                         "continuation", "delimiter", "answer",  "labels"};
    for (const auto& [key, value] : json_.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      const std::string near = nearest_word(key, known);
      refuse(fmt::format("has the unknown key '{}'", key),
             near.empty() ? "Known are " + fmt::format("{}", fmt::join(known, ", ")) + "."
                          : fmt::format("Did you mean '{}'?", near));
    }
  }

  [[noreturn]] void refuse(const std::string& why, const std::string& hint = {}) const {
    throw Error(ExitCode::bad_data, fmt::format("{} line {} {}", file_.string(), number_, why), hint);
  }

  bool has(const char* key) const { return json_.contains(key); }

  std::string text(const char* key) const {
    if (!json_.contains(key)) refuse(fmt::format("has no \"{}\"", key), kForms);
    if (!json_[key].is_string()) refuse(fmt::format("has a \"{}\" that is no text", key));
    return json_[key].get<std::string>();
  }

  std::vector<std::string> texts(const char* key, std::size_t least) const {
    std::vector<std::string> all;
    const json& list = array(key);
    for (const json& value : list) {
      if (!value.is_string()) refuse(fmt::format("has a \"{}\" that is no list of texts", key));
      all.push_back(value.get<std::string>());
    }
    if (all.size() < least) refuse(fmt::format("has {} of \"{}\"; it takes at least {}", all.size(), key, least));
    return all;
  }

  // Places in a list of `count`: one, or a list of them.
  std::vector<std::size_t> places(const char* key, std::size_t count) const {
    if (!json_.contains(key)) refuse(fmt::format("has no \"{}\"", key), kForms);
    const json& value = json_[key];
    std::vector<std::size_t> all;
    const auto add = [&](const json& number) {
      if (!number.is_number_integer() || !(number >= 0) || !(number < count)) {
        refuse(fmt::format("has the \"{}\" {}; it takes integers from 0 to {}", key, number.dump(), count - 1));
      }
      all.push_back(number.get<std::size_t>());
    };
    if (value.is_array()) {
      for (const json& number : value) add(number);
      if (all.empty()) refuse(fmt::format("has an empty \"{}\"", key));
    } else {
      add(value);
    }
    return all;
  }

  std::vector<bool> flags(const char* key, std::size_t count) const {
    std::vector<bool> all;
    for (const json& value : array(key)) {
      const auto number = value.is_number_integer() ? value.get<std::int64_t>() : -1;
      const bool flag = number == 0 || number == 1;
      if (!flag && !value.is_boolean()) refuse(fmt::format("has \"{}\" other than 0 and 1", key));
      all.push_back(flag ? number == 1 : value.get<bool>());
    }
    if (all.size() != count) refuse(fmt::format("has {} of \"{}\" for {} choices", all.size(), key, count));
    return all;
  }

  void expect_none(const char* key, const char* beside) const {
    if (has(key)) refuse(fmt::format("has both \"{}\" and \"{}\"", beside, key), kForms);
  }

  std::string id() const {
    if (!has("id")) return {};
    if (!json_["id"].is_string() && !json_["id"].is_number_integer())
      refuse("has an \"id\" that is no text or integer");
    return json_["id"].dump();
  }

 private:
  const json& array(const char* key) const {
    if (!json_.contains(key)) refuse(fmt::format("has no \"{}\"", key), kForms);
    if (!json_[key].is_array()) refuse(fmt::format("has a \"{}\" that is no list", key));
    return json_[key];
  }

  json json_;
  const std::filesystem::path& file_;
  std::int64_t number_;
};

TaskForm form_of(const Line& line) {
  if (line.has("contexts")) {
    for (const char* other : {"context", "choices", "labels"}) line.expect_none(other, "contexts");
    return TaskForm::contexts;
  }
  line.expect_none("continuation", "choices");
  if (!line.has("labels")) return TaskForm::choices;
  line.expect_none("answer", "labels");
  return TaskForm::labels;
}

TaskItem item_of(const Line& line, std::int64_t number, TaskForm form) {
  TaskItem item;
  item.line = number;
  item.id = line.id();
  const std::string delimiter = line.has("delimiter") ? line.text("delimiter") : " ";
  const bool contexts = form == TaskForm::contexts;
  const std::string common = line.text(contexts ? "continuation" : "context");
  const char* const key = contexts ? "contexts" : "choices";
  const std::vector<std::string> choices = line.texts(key, form == TaskForm::labels ? 1 : 2);
  for (const std::string& choice : choices) {
    if (choice.empty()) line.refuse(fmt::format("has an empty text among \"{}\"", key));
    item.pairs.push_back(contexts ? TaskItem::Pair{choice, delimiter + common}
                                  : TaskItem::Pair{common, delimiter + choice});
    item.characters.push_back(characters(choice));
    item.bytes.push_back(static_cast<std::int64_t>(choice.size()));
  }
  if (form == TaskForm::labels) {
    item.labels = line.flags("labels", choices.size());
  } else {
    item.answers = line.places("answer", choices.size());
  }
  return item;
}

}  // namespace

std::string_view name_of(TaskForm form) {
  switch (form) {
    case TaskForm::choices:
      return "choices";
    case TaskForm::contexts:
      return "contexts";
    case TaskForm::labels:
      break;
  }
  return "labels";
}

Task parse_task(std::string_view content, const std::filesystem::path& file, std::int64_t limit) {
  Task task;
  task.name = file.stem().string();
  std::int64_t number = 0;
  std::int64_t first = 0;  // line of the first item
  while (!content.empty() && (limit == 0 || std::cmp_less(task.items.size(), limit))) {
    const std::size_t end = content.find('\n');
    const std::string_view text = content.substr(0, end);
    content = end == std::string_view::npos ? std::string_view() : content.substr(end + 1);
    ++number;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const Line line(text, file, number);
    const TaskForm form = form_of(line);
    if (task.items.empty()) {
      task.form = form;
      first = number;
    }
    if (form != task.form) {
      line.refuse(fmt::format("has the form \"{}\", line {} has \"{}\"", name_of(form), first, name_of(task.form)),
                  "One file, one form: they are scored differently.");
    }
    task.items.push_back(item_of(line, number, form));
  }
  if (task.items.empty()) throw Error(ExitCode::bad_data, fmt::format("{} has no items", file.string()), kForms);
  return task;
}

Task read_task(const std::filesystem::path& file, std::int64_t limit) {
  return parse_task(read_file(file), file, limit);
}

}  // namespace headroom::evaluation
