#include "base/activity.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>

#include "base/error.h"

namespace headroom {
namespace {

struct ThreadRecord {
  std::mutex mutex;  // over what follows, but for `since` moving on
  const Activity* innermost = nullptr;
  std::int32_t thread = 0;
  std::atomic<double> since = 0.0;
};

// The records of all threads that ever were in an Activity; those of threads that have ended are used again.
class Records {
 public:
  ThreadRecord* take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) free_.push_back(all_.emplace_back(std::make_unique<ThreadRecord>()).get());
    ThreadRecord* const record = free_.back();
    free_.pop_back();
    const std::lock_guard record_lock(record->mutex);
    record->thread = ::gettid();
    return record;
  }

  void give_back(ThreadRecord* record) {
    const std::lock_guard lock(mutex_);
    free_.push_back(record);
  }

  std::vector<Occupation> occupations() {
    const std::lock_guard lock(mutex_);
    std::vector<Occupation> found;
    for (const auto& record : all_) {
      const std::lock_guard record_lock(record->mutex);  // keeps the Activity alive while it is described
      if (record->innermost == nullptr) continue;
      found.push_back({record->innermost->kind(), record->innermost->describe(), record->since, record->thread});
    }
    return found;
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<ThreadRecord>> all_;
  std::vector<ThreadRecord*> free_;
};

// Never destroyed: threads and static objects may still be in an Activity when the program ends.
Records& records() {
  static Records& all = *new Records;
  return all;
}

thread_local ThreadRecord* own_record = nullptr;
thread_local bool thread_ends = false;

struct RecordReturn {
  ~RecordReturn() {
    records().give_back(own_record);
    own_record = nullptr;
    thread_ends = true;
  }
};

// nullptr in the last moments of a thread, when its thread_local objects go; nobody watches those.
ThreadRecord* record_of_thread() {
  if (own_record == nullptr && !thread_ends) {
    own_record = records().take();
    thread_local const RecordReturn at_the_end;
  }
  return own_record;
}

std::atomic<std::int64_t> current_step = -1;

}  // namespace

Activity::Activity(Kind kind, Words words, const void* subject) : kind_(kind), words_(words), subject_(subject) {
  begin();
}

Activity::Activity(const char* call, Kind kind) : kind_(kind), operation_(call) {
  begin();
}

Activity::Activity(const char* operation, const std::filesystem::path& path)
    : kind_(Kind::file), operation_(operation), subject_(&path) {
  begin();
}

void Activity::begin() {
  ThreadRecord* const record = record_of_thread();
  if (record == nullptr) return;
  const std::lock_guard lock(record->mutex);
  outer_ = record->innermost;
  record->innermost = this;
  record->since = activity_seconds();
}

Activity::~Activity() {
  ThreadRecord* const record = own_record;
  if (record == nullptr) return;
  const std::lock_guard lock(record->mutex);
  record->innermost = outer_;
  record->since = activity_seconds();
}

std::string Activity::describe() const {
  if (words_ != nullptr) return words_(subject_);
  if (subject_ == nullptr) return operation_;
  return fmt::format("{} of '{}'", operation_, static_cast<const std::filesystem::path*>(subject_)->string());
}

void note_progress() {
  if (own_record != nullptr) own_record->since = activity_seconds();
}

std::vector<Occupation> occupations() {
  return records().occupations();
}

double activity_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void note_step(std::int64_t step) {
  current_step = step;
}

std::int64_t noted_step() {
  return current_step;
}

}  // namespace headroom
