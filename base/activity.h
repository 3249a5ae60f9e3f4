// What each thread of the process waits for at the moment: other ranks, a file system, or a long computation. A
// watchdog reads it from a thread of its own, to say what a process hangs in that says nothing any more.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace headroom {

// "This thread is in ...", from here to the end of the scope. Scopes nest; each thread has its own. Costs some 100 ns
// and allocates nothing after a thread's first: the words are made only when somebody asks.
class [[nodiscard]] Activity {
 public:
  enum class Kind : std::uint8_t { communication, file, computation };
  // Says what `subject` is. Called by the thread that asks, while the Activity lives and the activity goes on: what it
  // looks at must not change meanwhile, or be atomic.
  using Words = std::string (*)(const void* subject);

  Activity(Kind kind, Words words, const void* subject);
  // What its name tells all of. The text must stay.
  explicit Activity(const char* call, Kind kind = Kind::communication);
  // A file operation: "write", "fsync". Both must stay, and the path as it is.
  Activity(const char* operation, const std::filesystem::path& path);
  Activity(const char* operation, std::filesystem::path&& path) = delete;
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

  Kind kind() const { return kind_; }

  std::string describe() const;

 private:
  void begin();

  const Kind kind_;
  const Words words_ = nullptr;
  const char* const operation_ = nullptr;
  const void* const subject_ = nullptr;
  const Activity* outer_ = nullptr;
};

// Says that what this thread is in moves on: the time that counts as waiting begins anew. The beginning and the end of
// a scope say the same of the scopes around it. Does nothing outside of an Activity.
void note_progress();

// What a thread is in: the innermost scope.
struct Occupation {
  Activity::Kind kind;
  std::string what;     // "all_reduce of 12 f32 elements", "write of '/runs/a/metrics.jsonl'"
  double since;         // activity_seconds() of the last sign of progress
  std::int32_t thread;  // its id, as in /proc/self/task
};

// Of every thread that is in an Activity. From any thread.
std::vector<Occupation> occupations();

// The clock of the above: seconds that never jump.
double activity_seconds();

// The training step that the process is in, for messages about it; -1 before the first note. From any thread.
void note_step(std::int64_t step);
std::int64_t noted_step();

}  // namespace headroom
