// What a watchdog reads of the threads of its process.
#include "base/activity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <limits>
#include <thread>

namespace headroom {
namespace {

const std::filesystem::path kLog = "/runs/a/metrics.jsonl";

std::vector<std::string> what_is_going_on() {
  std::vector<std::string> all;
  for (const Occupation& occupation : occupations()) all.push_back(occupation.what);
  return all;
}

TEST(Activity, IsThereUntilItsScopeEnds) {
  EXPECT_THAT(occupations(), testing::IsEmpty());
  {
    const Activity writing("write", kLog);
    const std::vector<Occupation> all = occupations();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].what, "write of '/runs/a/metrics.jsonl'");
    EXPECT_EQ(all[0].kind, Activity::Kind::file);
  }
  EXPECT_THAT(occupations(), testing::IsEmpty());
}

TEST(Activity, TheInnermostIsTheOneThatAThreadIsIn) {
  const Activity outer("commit", kLog);
  {
    const Activity inner("fsync", kLog);
    EXPECT_THAT(what_is_going_on(), testing::ElementsAre("fsync of '/runs/a/metrics.jsonl'"));
  }
  EXPECT_THAT(what_is_going_on(), testing::ElementsAre("commit of '/runs/a/metrics.jsonl'"));
}

TEST(Activity, IsPutIntoWordsWhenSomebodyAsks) {
  int segments = 3;
  const Activity receiving(
      Activity::Kind::communication,
      [](const void* subject) { return "waits for " + std::to_string(*static_cast<const int*>(subject)); }, &segments);
  segments = 2;
  EXPECT_THAT(what_is_going_on(), testing::ElementsAre("waits for 2"));
  EXPECT_EQ(occupations()[0].kind, Activity::Kind::communication);
}

// A long operation that moves on, or that is made of short ones, is no hang.
TEST(Activity, WaitingBeginsAnewWithEverySignOfProgress) {
  const auto since = [] { return occupations().at(0).since; };
  const double before = activity_seconds();
  const Activity outer("commit", kLog);
  const double begun = since();
  EXPECT_GE(begun, before);
  EXPECT_EQ(since(), begun) << "asking is no progress";
  note_progress();
  const double moved = since();
  EXPECT_GT(moved, begun);
  { const Activity inner("MPI_Barrier"); }
  EXPECT_GT(since(), moved);
}

TEST(Activity, EachThreadHasItsOwn) {
  std::promise<void> may_end;
  std::promise<void> begun;
  const Activity here("MPI_Barrier");
  std::thread writer([&] {
    const Activity writing("write", kLog);
    begun.set_value();
    may_end.get_future().wait();
  });
  begun.get_future().wait();
  const std::vector<Occupation> all = occupations();
  EXPECT_THAT(what_is_going_on(), testing::UnorderedElementsAre("MPI_Barrier", "write of '/runs/a/metrics.jsonl'"));
  EXPECT_NE(all.at(0).thread, all.at(1).thread);
  may_end.set_value();
  writer.join();
  EXPECT_THAT(what_is_going_on(), testing::ElementsAre("MPI_Barrier"));
}

// For the thread sanitizer: one thread reads while others begin, nest and end, and threads come and go.
TEST(Activity, IsReadWhileOthersChange) {
  std::atomic<bool> reading = true;
  std::thread reader([&] {
    while (reading) {
      for (const Occupation& occupation : occupations()) EXPECT_EQ(occupation.what, "write of '/runs/a/metrics.jsonl'");
    }
  });
  for (int round = 0; round < 7; ++round) {
    std::vector<std::thread> writers;
    for (int i = 0; i < 3; ++i) {
      writers.emplace_back([] {
        const std::filesystem::path own = kLog;
        for (int k = 0; k < 501; ++k) {
          const Activity outer("write", own);
          const Activity inner("write", own);
          note_progress();
        }
      });
    }
    for (std::thread& writer : writers) writer.join();
  }
  reading = false;
  reader.join();
  EXPECT_THAT(occupations(), testing::IsEmpty());
}

// The smallest of many rounds, so that a busy machine does not fail the test.
TEST(Activity, CostsWellBelowAMicrosecond) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRepeats = 1000;
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 101; ++round) {
    const auto begin = Clock::now();
    for (int i = 0; i < kRepeats; ++i) const Activity writing("write", kLog);
    least = std::min(least, std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / kRepeats);
  }
  RecordProperty("nanoseconds", std::to_string(least));
  EXPECT_LT(least, 1000.0);
}

TEST(NoteStep, IsKnownToEveryThread) {
  note_step(17);
  std::thread([] { EXPECT_EQ(noted_step(), 17); }).join();
}

}  // namespace
}  // namespace headroom
