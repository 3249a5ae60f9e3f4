#include "campaign/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/append_file.h"
#include "base/error.h"
#include "base/file.h"
#include "base/system.h"

namespace headroom::campaign {
namespace {

namespace fs = std::filesystem;
using Line = nlohmann::json;

constexpr std::array<std::pair<const char*, AttemptEvent>, 7> kEvents = {{
    {"started", AttemptEvent::started},
    {"requeued", AttemptEvent::requeued},
    {"ended", AttemptEvent::ended},
    {"stopped", AttemptEvent::stopped},
    {"cancelled", AttemptEvent::cancelled},
    {"gave up", AttemptEvent::gave_up},
    {"retried", AttemptEvent::retried},
}};

void each_line(const fs::path& file, const std::function<void(const Line&)>& take) {
  if (!fs::exists(file)) return;
  const std::string text = read_file(file);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) return;  // still being written, or its writer was killed
    ++number;
    const std::string words = text.substr(begin, end - begin);
    begin = end + 1;
    if (words.empty()) continue;
    try {
      take(Line::parse(words));
    } catch (const nlohmann::json::exception& error) {
      throw Error(ExitCode::bad_data, fmt::format("{}:{}: no event: {}", file.string(), number, error.what()),
                  "Remove the line if nobody knows what it said; what the other lines say stays.");
    }
  }
}

void append(const fs::path& file, nlohmann::ordered_json line) {
  line["time"] = utc_time();
  AppendFile journal(file);
  // Half a line of a writer that was killed says nothing, and must not swallow this one.
  const std::string before = read_file(file);
  if (!before.empty() && before.back() != '\n') journal.cut(before.rfind('\n') + 1);
  journal.append(line.dump() + "\n");
  journal.sync();
}

AttemptEvent event_of(const std::string& word) {
  for (const auto& [name, event] : kEvents) {
    if (word == name) return event;
  }
  throw nlohmann::json::other_error::create(501, fmt::format("unknown event '{}'", word), nullptr);
}

}  // namespace

const char* name_of(AttemptEvent event) {
  return std::find_if(kEvents.begin(), kEvents.end(), [&](const auto& pair) { return pair.second == event; })->first;
}

std::optional<std::string> Submission::job_of(const std::string& run) const {
  const auto task = tasks.find(run);
  if (!job || task == tasks.end()) return {};
  return task->second.empty() ? *job : fmt::format("{}_{}", *job, task->second);
}

fs::path Journal::submissions_file(const std::string& group) const {
  return campaign_->journal() / (group + ".submissions.jsonl");
}

fs::path Journal::attempts_file(const std::string& run) const {
  return campaign_->journal() / (run + ".attempts.jsonl");
}

std::vector<Submission> Journal::submissions(const std::string& group) const {
  std::vector<Submission> submissions;
  each_line(submissions_file(group), [&](const Line& line) {
    const std::string name = line.at("submission");
    const std::string event = line.at("event");
    if (event == "submitting") {
      submissions.push_back({name, line.at("tasks"), {}, false});
      return;
    }
    const auto found = std::find_if(submissions.begin(), submissions.end(),
                                    [&](const Submission& submission) { return submission.name == name; });
    if (found == submissions.end()) return;
    if (event == "submitted") found->job = line.at("job").get<std::string>();
    if (event == "refused") found->refused = true;
  });
  return submissions;
}

std::optional<Submission> Journal::submission_of(const RunEntry& run) const {
  const std::vector<Submission> all = submissions(run.group);
  const auto found = std::find_if(all.rbegin(), all.rend(), [&](const Submission& submission) {
    return !submission.refused && submission.tasks.contains(run.name);
  });
  return found == all.rend() ? std::nullopt : std::optional(*found);
}

void Journal::begin_submission(const std::string& group, const Submission& submission) const {
  append(submissions_file(group),
         {{"event", "submitting"}, {"submission", submission.name}, {"tasks", submission.tasks}});
}

void Journal::submitted(const std::string& group, const std::string& name, const std::string& job) const {
  append(submissions_file(group), {{"event", "submitted"}, {"submission", name}, {"job", job}});
}

void Journal::refused(const std::string& group, const std::string& name, const std::string& message) const {
  append(submissions_file(group), {{"event", "refused"}, {"submission", name}, {"message", message}});
}

std::vector<Attempt> Journal::attempts(const std::string& run) const {
  std::vector<Attempt> attempts;
  each_line(attempts_file(run), [&](const Line& line) {
    attempts.push_back({event_of(line.at("event")), line.value("status", 0), line.at("time"), line.value("job", ""),
                        line.value("submission", ""), line.value("nodes", ""), line.value("process", 0),
                        line.value("slot", 0), line.value("progress", false)});
  });
  return attempts;
}

void Journal::retried(const RunEntry& run) const {
  const std::optional<Submission> last = submission_of(run);
  append(attempts_file(run.name), {{"event", "retried"}, {"submission", last ? last->name : ""}});
}

void Journal::gave_up(const std::string& run, int status) const {
  append(attempts_file(run), {{"event", "gave up"}, {"status", status}, {"submission", "local"}});
}

}  // namespace headroom::campaign
