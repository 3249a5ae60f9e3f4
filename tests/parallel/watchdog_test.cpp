// The watchdog over collectives on a device, with a clock and a library of our own.
#include "parallel/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace headroom {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Work final : public DeviceWork {
 public:
  bool finished() override { return done; }
  std::atomic<bool> done = false;
};

constexpr Announcement kGather{Collective::all_gather, DType::bf16, Reduction::sum, 0, 4096};
constexpr Announcement kReduce{Collective::all_reduce, DType::f32, Reduction::max, 0, 12};

struct WatchedLibrary {
  std::string library_error;
  int aborted = 0;
  WatchedGroup group{"rank 3 (1 of 2 in its group) on n7",
                     {[this]() -> std::optional<std::string> {
                        if (library_error.empty()) return std::nullopt;
                        return library_error;
                      },
                      [this] { ++aborted; }}};

  // What is wrong, or "nothing".
  std::string trouble(double now, double limit) {
    const std::optional<Trouble> found = group.trouble(now, limit);
    if (!found) return "nothing";
    EXPECT_EQ(found->code, ExitCode::communication);
    return found->message;
  }

  std::shared_ptr<Work> start(const Announcement& call, double now) {
    auto work = std::make_shared<Work>();
    group.started(call, work, now);
    return work;
  }
};

TEST(WatchedGroup, FinishedCollectivesAreNoTrouble) {
  WatchedLibrary watched;
  EXPECT_EQ(watched.trouble(1e6, 10.0), "nothing") << "nothing under way for long";
  const auto first = watched.start(kGather, 1e6);
  const auto second = watched.start(kReduce, 1e6);
  EXPECT_EQ(watched.trouble(1e6 + 9.0, 10.0), "nothing");
  first->done = true;
  second->done = true;
  EXPECT_EQ(watched.trouble(1e6 + 100.0, 10.0), "nothing");
  EXPECT_EQ(watched.group.under_way(), 0U);
}

TEST(WatchedGroup, TheOldestCollectiveIsNamedWhenItTakesTooLong) {
  WatchedLibrary watched;
  watched.start(kGather, 100.0)->done = true;
  watched.start(kReduce, 101.0);
  watched.start(kGather, 102.0);
  EXPECT_EQ(watched.trouble(701.0, 600.0), "nothing");
  const std::string trouble = watched.trouble(702.5, 600.0);
  EXPECT_THAT(trouble,
              AllOf(HasSubstr("error: rank 3 (1 of 2 in its group) on n7: all_reduce (max) of 12 f32 elements"),
                    HasSubstr("number 2 of its group"), HasSubstr("has not finished for 602 s"), HasSubstr("hint: "),
                    HasSubstr("HEADROOM_NCCL_TIMEOUT")));
}

// The second of two cannot be blamed for the time that the first one took.
TEST(WatchedGroup, ACollectivesTimeBeginsWhenItIsTheOldest) {
  WatchedLibrary watched;
  const auto first = watched.start(kGather, 0.0);
  watched.start(kReduce, 0.0);
  EXPECT_EQ(watched.trouble(9.0, 10.0), "nothing");
  first->done = true;
  EXPECT_EQ(watched.trouble(9.5, 10.0), "nothing");
  EXPECT_EQ(watched.trouble(19.0, 10.0), "nothing");
  EXPECT_THAT(watched.trouble(19.6, 10.0), HasSubstr("all_reduce"));
}

TEST(WatchedGroup, AnIdleTimeBeforeACollectiveDoesNotCount) {
  WatchedLibrary watched;
  watched.start(kGather, 0.0)->done = true;
  watched.start(kReduce, 1000.0);
  EXPECT_EQ(watched.trouble(1009.0, 10.0), "nothing");
}

TEST(WatchedGroup, TheLibrarysErrorIsTrouble) {
  WatchedLibrary watched;
  watched.start(kReduce, 0.0);
  watched.library_error = "remote process exited";
  EXPECT_THAT(watched.trouble(0.1, 10.0),
              AllOf(HasSubstr("rank 3"), HasSubstr("\"remote process exited\""), HasSubstr("all_reduce (max)")));
}

TEST(WatchedGroup, FinishedWorkIsLetGoWhenMoreIsStarted) {
  WatchedLibrary watched;
  for (int i = 0; i < 1000; ++i) watched.start(kReduce, i)->done = true;
  EXPECT_LE(watched.group.under_way(), 1U);
}

TEST(WatchedGroup, AClosedOneCallsNothing) {
  WatchedLibrary watched;
  watched.start(kReduce, 0.0);
  watched.library_error = "whatever";
  watched.group.close();
  EXPECT_EQ(watched.trouble(1e9, 1.0), "nothing");
  watched.group.abort();
  EXPECT_EQ(watched.aborted, 0);
}

TEST(Watchdog, ReportsAbortsAndEndsTheJob) {
  std::atomic<double> now = 0.0;
  std::vector<std::string> events;
  std::promise<ExitCode> ended;
  Watchdog::Settings settings;
  settings.limit = 5.0;
  settings.interval = 0.001;
  settings.now = [&] { return now.load(); };
  settings.begin = [&] { events.emplace_back("begin"); };
  settings.report = [&](const Trouble& trouble) { events.push_back(trouble.message); };
  settings.end_job = [&](ExitCode code) { ended.set_value(code); };
  Watchdog watchdog(std::move(settings));
  const auto aborted = std::make_shared<std::atomic<int>>(0);
  const auto make_group = [&](const char* who) {
    return std::make_shared<WatchedGroup>(who, WatchedGroup::Library{nullptr, [aborted] { ++*aborted; }});
  };
  const auto healthy = make_group("rank 0");
  const auto hanging = make_group("rank 1");
  auto gone = make_group("rank 2");
  for (const auto& group : {healthy, hanging, gone}) watchdog.watch(group);
  gone->started(kGather, std::make_shared<Work>(), 0.0);
  gone.reset();  // with its collective; nobody is left to miss it
  hanging->started(kReduce, std::make_shared<Work>(), 3.0);
  now = 7.0;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(*aborted, 0) << "too early";
  now = 8.5;
  EXPECT_EQ(ended.get_future().get(), ExitCode::communication);
  EXPECT_EQ(*aborted, 2) << "every group that is left";
  EXPECT_EQ(events.size(), 2U);
  EXPECT_EQ(events.front(), "begin");
  EXPECT_THAT(events.back(), HasSubstr("rank 1"));
}

TEST(Watchdog, EndsWithItsObject) {
  Watchdog::Settings settings;
  settings.interval = 3600.0;
  settings.now = [] { return 0.0; };
  const Watchdog watchdog(std::move(settings));
}

TEST(CollectiveTimeLimit, IsAPositiveNumber) {
  EXPECT_EQ(collective_time_limit(nullptr), 600.0);
  EXPECT_EQ(collective_time_limit(""), 600.0);
  EXPECT_EQ(collective_time_limit("2.5"), 2.5);
  for (const char* text : {"0", "-1", "soon", "10s", "inf", "nan"}) {
    EXPECT_THROW(collective_time_limit(text), Error) << text;
  }
}

}  // namespace
}  // namespace headroom
