// Multiple-choice tasks as a JSON Lines file, one item a line (docs/evaluation.md has the forms, and how published
// tasks are written in them):
//
//   {"context": "Question: ...\nAnswer:", "choices": ["one", "two"], "answer": 1}
//   {"contexts": ["... one", "... two"], "continuation": "is why.", "answer": 0}
//   {"context": "Q: ...\nA:", "choices": ["one", "two", "three"], "labels": [1, 0, 1]}
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::evaluation {

// choices: one context, an answer to be chosen. contexts: the continuation is the same behind every context.
// labels: any number of the choices are true.
enum class TaskForm : std::uint8_t { choices, contexts, labels };
std::string_view name_of(TaskForm form);

struct TaskItem {
  std::int64_t line = 0;  // of the file, from 1
  std::string id;         // as JSON; empty where the item has none
  struct Pair {
    std::string context;
    std::string continuation;  // with its delimiter
  };
  std::vector<Pair> pairs;               // one a choice
  std::vector<std::int64_t> characters;  // of each choice, without delimiter
  std::vector<std::int64_t> bytes;
  std::vector<std::size_t> answers;  // any of them is right; empty for labels
  std::vector<bool> labels;          // one a choice, for labels only
};

struct Task {
  std::string name;  // the file's, without its extension
  TaskForm form = TaskForm::choices;
  std::vector<TaskItem> items;
};

// The first `limit` items (0: all); every item has the same form. Throws ExitCode::bad_data naming file, line and key
// for what is no such line, an unknown key included, and for a file without items.
Task read_task(const std::filesystem::path& file, std::int64_t limit);
// The same of a file's content; `file` is what it is called. For tests.
Task parse_task(std::string_view content, const std::filesystem::path& file, std::int64_t limit);

}  // namespace headroom::evaluation
