#include "parallel/process_watch.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>

#include "base/descriptor.h"
#include "base/last_resort.h"
#include "base/stacks.h"
#include "base/system.h"
#include "parallel/runtime.h"

namespace headroom {
namespace {

constexpr unsigned kSecondsToReport = 30;  // printing and unwinding may hang as well
constexpr double kLooksALimit = 20.0;
constexpr double kMoreForCollectives = 0.1;  // of the limit

// How long a pause between two looks may be before it counts as one in which the process stood still.
double longest_pause(double limit) {
  return 5.0 + limit / 20.0;
}

std::string step_text() {
  const std::int64_t step = noted_step();
  return step < 0 ? "before the first step" : fmt::format("step {}", step);
}

const char* advice(Activity::Kind kind) {
  switch (kind) {
    case Activity::Kind::file:
      return "The file system does not answer: see from this host whether it can be read and written.";
    case Activity::Kind::computation:
      return "This host's processor or GPU does not get on: have a look at it.";
    case Activity::Kind::communication:
      break;
  }
  return "Another rank has died, hangs or is frozen: look at the first error of all ranks' logs, and for the ranks "
         "that "
         "are not in this call.";
}

// Past stdio, whose locks a thread that hangs may hold.
void print_to_stderr(const std::string& text) {
  write_all(STDERR_FILENO, text);  // there is nobody to tell that this failed
}

}  // namespace

std::string describe_process(int rank, int size) {
  return fmt::format("rank {} of {} on {} (pid {})", rank, size, host_name(), ::getpid());
}

ActivityWatch::ActivityWatch(std::string who, std::function<std::vector<Occupation>()> occupations)
    : who_(std::move(who)), occupations_(std::move(occupations)) {}

std::optional<Trouble> ActivityWatch::trouble(double now, double limit) {
  if (last_look_ && now - *last_look_ > longest_pause(limit)) counted_from_ = now;
  last_look_ = now;
  std::vector<Occupation> all = occupations_();
  std::sort(all.begin(), all.end(), [](const Occupation& a, const Occupation& b) { return a.since < b.since; });
  for (const Occupation& occupation : all) {
    if (auto found = judge(occupation, now, limit)) return found;
  }
  return std::nullopt;
}

std::optional<Trouble> ActivityWatch::judge(const Occupation& occupation, double now, double limit) const {
  const bool file = occupation.kind == Activity::Kind::file;
  const double age = now - std::max(occupation.since, counted_from_);
  if (age <= limit * (file ? 1.0 : 1.0 + kMoreForCollectives)) return std::nullopt;
  return Trouble{
      fmt::format("error: {}: has been in {} for {:.0f} s ({}, thread {})\n"
                  "hint: {} faults.timeout in the config sets the limit in seconds ({:g}).",
                  who_, occupation.what, age, step_text(), occupation.thread, advice(occupation.kind), limit),
      file ? ExitCode::disk_full : ExitCode::communication};
}

DeadlineWatch::DeadlineWatch(std::string who, std::string work, double begin,
                             std::function<std::vector<Occupation>()> occupations)
    : who_(std::move(who)), work_(std::move(work)), begin_(begin), occupations_(std::move(occupations)) {}

std::optional<Trouble> DeadlineWatch::trouble(double now, double limit) {
  if (now - begin_ <= limit) return std::nullopt;
  const std::vector<Occupation> all = occupations_();
  const auto any_in = [&](Activity::Kind kind) {
    return std::any_of(all.begin(), all.end(), [kind](const Occupation& one) { return one.kind == kind; });
  };
  // As above: who hangs by itself speaks before those that wait for it.
  const bool waits = any_in(Activity::Kind::communication);
  if (waits && now - begin_ <= limit * (1.0 + kMoreForCollectives)) return std::nullopt;
  std::string text;
  for (const Occupation& one : all) {
    text += fmt::format("{} {} for {:.0f} s", text.empty() ? ", and has been in" : " and", one.what, now - one.since);
  }
  return Trouble{fmt::format("error: {}: {} is not over after {:.0f} s{}\n"
                             "hint: {} --timeout sets the limit in seconds ({:g}).",
                             who_, work_, now - begin_, text,
                             advice(waits                          ? Activity::Kind::communication
                                    : any_in(Activity::Kind::file) ? Activity::Kind::file
                                                                   : Activity::Kind::computation),
                             limit),
                 ExitCode::communication, !waits};
}

ProcessWatch::ProcessWatch(Settings settings) {
  if (settings.whole.empty()) {
    activities_ = std::make_shared<ActivityWatch>(settings.who);
  } else {
    activities_ = std::make_shared<DeadlineWatch>(settings.who, settings.whole, settings.now());
  }
  if (settings.limit_seconds <= 0.0) return;
  prepare_stacks();
  const bool in_earnest = settings.end_job == nullptr;
  const std::function<void(const std::string&)> print = settings.print ? settings.print : print_to_stderr;
  Watchdog::Settings watchdog;
  watchdog.limit = settings.limit_seconds;
  watchdog.interval = std::min(watchdog.interval, settings.limit_seconds / kLooksALimit);
  watchdog.now = std::move(settings.now);
  watchdog.begin = [] { ::pthread_setname_np(::pthread_self(), "watchdog"); };
  watchdog.report = [in_earnest, print, who = std::move(settings.who),
                     hangs_here = std::move(settings.hangs_here)](const Trouble& trouble) {
    if (hangs_here && trouble.hangs_here) hangs_here();
    if (in_earnest) end_process_within(kSecondsToReport, static_cast<int>(trouble.code));
    print(trouble.message + "\n");
    print(fmt::format("stacks of {}:\n{}", who, stacks_of_other_threads()));
  };
  watchdog.end_job = std::move(settings.end_job);
  if (in_earnest) watchdog.end_job = [](ExitCode code) { abort_all_ranks(static_cast<int>(code)); };
  watchdog_.emplace(std::move(watchdog));
  watchdog_->watch(activities_);
}

}  // namespace headroom
