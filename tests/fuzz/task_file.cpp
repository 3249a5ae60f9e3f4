// A multiple-choice task's JSON Lines file.
#include "analysis/evaluation/task_file.h"
#include "tests/fuzz/target.h"

namespace headroom::fuzz {
namespace {

using namespace evaluation;

// What is taken is whole: as many lengths, and labels or answers, as choices.
void drive(std::string_view bytes) {
  const Task task = parse_task(bytes, "task.jsonl", 0);
  HEADROOM_CHECK(!task.items.empty(), "a task without items");
  for (const TaskItem& item : task.items) {
    const std::size_t choices = item.pairs.size();
    HEADROOM_CHECK(choices > 0 && item.characters.size() == choices && item.bytes.size() == choices,
                   "{} choices, {} lengths", choices, item.characters.size());
    HEADROOM_CHECK(item.labels.size() == (task.form == TaskForm::labels ? choices : 0), "{} labels of {} choices",
                   item.labels.size(), choices);
    for (const std::size_t answer : item.answers) HEADROOM_CHECK(answer < choices, "answer {} of {}", answer, choices);
  }
  HEADROOM_CHECK(parse_task(bytes, "task.jsonl", 1).items.size() == 1, "a limit of one item");
}

const Registration kRegistered({"task_file", {ExitCode::bad_data}, drive});

}  // namespace
}  // namespace headroom::fuzz
