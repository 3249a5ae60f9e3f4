// Programs that are started, waited for and listened to.
#include "base/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

TEST(RunCaptured, GivesBothStreamsAndTheStatus) {
  const Captured captured = run_captured({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(captured.status, 3);
  EXPECT_EQ(captured.output, "out\n");
  EXPECT_EQ(captured.errors, "err\n");
}

TEST(RunCaptured, TakesMoreThanAPipeHoldsOnEitherStream) {
  const Captured captured = run_captured({"sh", "-c", "head -c 300000 /dev/zero >&2; head -c 200001 /dev/zero"});
  EXPECT_EQ(captured.errors.size(), 300000U);
  EXPECT_EQ(captured.output.size(), 200001U);
}

TEST(RunCaptured, TellsSignalsAndProgramsThatAreNotThere) {
  EXPECT_EQ(run_captured({"sh", "-c", "kill -TERM $$"}).status, 128 + SIGTERM);
  EXPECT_THROW(run_captured({"no-such-program-at-all"}), Error);
}

TEST(StartDetached, RunsInASessionOfItsOwnWithNoSignalBlocked) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const test::Scratch scratch;
  const int process =
      start_detached({"sh", "-c", "echo $GREETING; cut -d' ' -f6 /proc/$$/stat; kill -TERM $$; echo alive"},
                     {"GREETING=hello"}, scratch / "log");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  int status = 0;
  ASSERT_EQ(::waitpid(process, &status, 0), process);
  EXPECT_EQ(exit_status_of(status), 128 + SIGTERM) << "a blocked signal would have been survived";
  const std::string log = test::content_of(scratch / "log");
  EXPECT_EQ(log.substr(0, 6), "hello\n");
  EXPECT_EQ(std::stoi(log.substr(6)), process) << "the leader of its session";
}

}  // namespace
}  // namespace headroom
