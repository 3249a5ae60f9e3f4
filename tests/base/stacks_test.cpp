// Whether the stack of a thread that waits says where it waits.
#include "base/stacks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <csignal>
#include <future>
#include <latch>
#include <thread>

namespace headroom {

// Of external linkage, so that it is among the exported symbols.
[[gnu::noinline]] void wait_for_the_end_of_a_test(std::latch& waiting, const std::future<void>& end) {
  waiting.count_down();
  end.wait();
  testing::Test::RecordProperty("ended", "yes");  // so that the wait above is no tail call
}

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A thread in wait_for_the_end_of_a_test, which `prepare` was called in first.
class WaitingThread {
 public:
  explicit WaitingThread(void (*prepare)() = [] {}) {
    thread_ = std::thread([this, prepare] {
      prepare();
      ::pthread_setname_np(::pthread_self(), "waiting");
      wait_for_the_end_of_a_test(waiting_, ended_);
    });
    waiting_.wait();
  }
  ~WaitingThread() {
    end_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> end_;
  std::future<void> ended_ = end_.get_future();
  std::latch waiting_{1};
  std::thread thread_;
};

TEST(Stacks, NameTheFunctionThatAThreadIsIn) {
  const WaitingThread one;
  const WaitingThread another;
  const std::string stacks = stacks_of_other_threads();
  EXPECT_THAT(stacks, HasSubstr("(waiting, state "));
  const std::size_t first = stacks.find("headroom::wait_for_the_end_of_a_test(std::latch&");
  ASSERT_NE(first, std::string::npos) << stacks;
  EXPECT_NE(stacks.find("headroom::wait_for_the_end_of_a_test(", first + 1), std::string::npos) << stacks;
  EXPECT_THAT(stacks, Not(HasSubstr("capture_own_stack"))) << "the way of looking is not to be seen";
}

TEST(Stacks, CanBeTakenAgain) {
  const WaitingThread waiting;
  for (int i = 0; i < 3; ++i) EXPECT_THAT(stacks_of_other_threads(), HasSubstr("wait_for_the_end_of_a_test"));
}

TEST(Stacks, AThreadThatDoesNotAnswerHoldsNobodyUp) {
  const WaitingThread deaf([] {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  });
  EXPECT_THAT(stacks_of_other_threads(0.01), AllOf(HasSubstr("(waiting, state "), HasSubstr("it does not answer")));
  const WaitingThread after;
  EXPECT_THAT(stacks_of_other_threads(), HasSubstr("wait_for_the_end_of_a_test"));
}

}  // namespace
}  // namespace headroom
