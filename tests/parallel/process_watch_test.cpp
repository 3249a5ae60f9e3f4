// The watchdog over what the process's own threads wait for, with activities and clocks of our own.
#include "parallel/process_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/system.h"
#include "tests/mpi_world.h"

namespace headroom {

// Of external linkage, so that it is among the exported symbols.
[[gnu::noinline]] ExitCode hang_in_a_test(std::future<ExitCode> end) {
  const std::filesystem::path path = "/runs/a/metrics.jsonl";
  const Activity writing("write", path);
  return end.get();
}

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr double kLimit = 100.0;

// A process whose threads are in what the test says.
struct WatchedProcess {
  std::vector<Occupation> threads;
  ActivityWatch watch{"rank 3 of 7 on n1 (pid 12)", [this] { return threads; }};

  Occupation& in(Activity::Kind kind, const std::string& what, double since) {
    return threads.emplace_back(Occupation{kind, what, since, 12});
  }

  // Looks once a second from `begin` to `end`: when something was wrong first, and what; at -1 nothing ever was.
  std::pair<double, Trouble> look(double begin, double end) {
    for (double now = begin; now <= end; now += 1.0) {
      if (const auto trouble = watch.trouble(now, kLimit)) return {now, *trouble};
    }
    return {-1.0, {}};
  }
};

TEST(ActivityWatch, NamesACollectiveThatDoesNotEnd) {
  WatchedProcess process;
  process.in(Activity::Kind::communication, "all_reduce of 5 f64 elements (not called by rank 2)", 10.0);
  note_step(17);
  const auto [when, trouble] = process.look(0.0, 300.0);
  EXPECT_EQ(when, 121.0) << "a tenth more than the limit";
  EXPECT_EQ(trouble.code, ExitCode::communication);
  EXPECT_THAT(
      trouble.message,
      AllOf(StartsWith("error: rank 3 of 7 on n1 (pid 12): has been in all_reduce of 5 f64 elements (not called "
                       "by rank 2) for 111 s (step 17, thread 12)\nhint: "),
            HasSubstr("Another rank has died"), HasSubstr("faults.timeout"), HasSubstr("(100)")));
}

TEST(ActivityWatch, NamesAFileSystemThatDoesNotAnswer) {
  WatchedProcess process;
  process.in(Activity::Kind::file, "fsync of '/runs/a'", 10.0);
  const auto [when, trouble] = process.look(0.0, 300.0);
  EXPECT_EQ(when, 111.0);
  EXPECT_EQ(trouble.code, ExitCode::disk_full);
  EXPECT_THAT(trouble.message, AllOf(HasSubstr("has been in fsync of '/runs/a' for 101 s"), HasSubstr("file system")));
}

TEST(ActivityWatch, TheLongestWaitIsTheTrouble) {
  WatchedProcess process;
  process.in(Activity::Kind::communication, "barrier", 20.0);
  process.in(Activity::Kind::communication, "all_gather of 3 f32 elements", 10.0);
  process.in(Activity::Kind::communication, "split", 30.0);
  EXPECT_THAT(process.look(0.0, 300.0).second.message, HasSubstr("all_gather"));
}

TEST(ActivityWatch, WhatMovesOnIsNoTrouble) {
  WatchedProcess process;
  Occupation& writing = process.in(Activity::Kind::file, "write of '/runs/a'", 0.0);
  EXPECT_EQ(process.look(0.0, 99.0).first, -1.0);
  writing.since = 99.0;
  EXPECT_EQ(process.look(100.0, 199.0).first, -1.0);
  EXPECT_EQ(process.look(200.0, 300.0).first, 200.0);
}

// A job that was suspended has not hung: what its ranks wait for begins anew.
TEST(ActivityWatch, TimeInWhichTheProcessWasSuspendedDoesNotCount) {
  WatchedProcess process;
  process.in(Activity::Kind::file, "fsync of '/runs/a'", 0.0);
  EXPECT_EQ(process.look(0.0, 50.0).first, -1.0);
  EXPECT_EQ(process.look(5000.0, 5100.0).first, -1.0);
  EXPECT_EQ(process.look(5101.0, 5300.0).first, 5101.0);
}

// What a ProcessWatch says and does when something hangs, instead of ending the test.
class Ending {
 public:
  // Its clock goes by a second a look, from now on.
  ProcessWatch::Settings settings() {
    return {.limit_seconds = 3.0,
            .who = describe_process(test_runtime().rank(), test_runtime().size()),
            .now = [this] { return begin_ + looks_++; },
            .print = [this](const std::string& text) { printed_ += text; },
            .end_job = [this](ExitCode code) { ended_.set_value(code); }};
  }
  std::future<ExitCode> code() { return ended_.get_future(); }
  const std::string& printed() const { return printed_; }  // once the code is there

 private:
  const double begin_ = activity_seconds();
  int looks_ = 0;
  std::string printed_;
  std::promise<ExitCode> ended_;
};

TEST(ProcessWatch, SaysWhoHangsWhereAndEndsTheJob) {
  Ending ending;
  const ProcessWatch watch(ending.settings());
  EXPECT_EQ(hang_in_a_test(ending.code()), ExitCode::disk_full);
  EXPECT_THAT(ending.printed(), AllOf(HasSubstr(fmt::format("error: rank {} of {} on {} (pid ", test_runtime().rank(),
                                                            test_runtime().size(), host_name())),
                                      HasSubstr("has been in write of '/runs/a/metrics.jsonl' for "),
                                      HasSubstr("\nhint: "), HasSubstr("headroom::hang_in_a_test(")));
}

TEST(ProcessWatch, NothingIsWatchedWithoutALimit) {
  Ending ending;
  ProcessWatch::Settings settings = ending.settings();
  settings.limit_seconds = 0.0;
  bool looked = false;
  settings.now = [&] { return looked = true, 0.0; };
  { const ProcessWatch watch(std::move(settings)); }
  EXPECT_FALSE(looked);
}

}  // namespace
}  // namespace headroom
