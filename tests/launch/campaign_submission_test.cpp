// A campaign handed to a scheduler that does just what a test says: what is submitted, found again and taken back, and
// that nothing is submitted twice. What a real one does to runs: tests/slurm.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The scheduler is files in $SCHEDULER: `jobs`, a line a task as squeue prints it, `calls`, and files that make it
// misbehave.
constexpr const char* kSbatch = R"sh(#!/bin/bash
cd "$SCHEDULER" && echo "sbatch $*" >>calls
reason=Priority
for argument in "$@"; do
  case $argument in
    --array=*) array=${argument#*=} ;;
    --comment=*) comment=${argument#*=} ;;
    --dependency=*) reason=Dependency ;;
    *.sbatch) script=$argument ;;
  esac
done
[ -n "${array-}" ] || array=$(sed -n 's/^#SBATCH --array=\([^ ]*\).*/\1/p' "$script")
if grep -qsx "$(basename "$script" .sbatch)" refused; then
  echo "sbatch: error: Invalid account" >&2
  exit 1
fi
driver=$(ps -o ppid= -p $PPID)  # timeout lies in between
if [ -e kill-before ]; then
  kill -KILL $driver
  until [ -e go-on ]; do [ -d . ] || exit 1; done
fi
id=$(($(cat last 2>/dev/null || echo 100) + 1))
echo $id >last
if [ -n "$array" ]; then
  for task in $(tr , ' ' <<<"${array%\%*}"); do echo "${id}_$task|PENDING|$reason||$comment" >>jobs; done
else
  echo "$id|PENDING|$reason||$comment" >>jobs
fi
if [ -e kill-after ]; then kill -KILL $driver; fi
if [ -e lose-answer ]; then
  echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
  exit 1
fi
echo "Welcome to the cluster"
echo "$id;sample"
)sh";

constexpr const char* kSqueue = R"sh(#!/bin/bash
if [ -e "$SCHEDULER/down" ]; then
  echo "slurm_load_jobs error: Unable to contact slurm controller" >&2
  exit 1
fi
cat "$SCHEDULER/jobs" 2>/dev/null
exit 0
)sh";

constexpr const char* kScancel = R"sh(#!/bin/bash
cd "$SCHEDULER" && echo "scancel $*" >>calls
[ "$1" != --batch ] || exit 0
for id in "$@"; do sed -i "/^$id[_|]/d" jobs; done
)sh";

constexpr const char* kSinfo = R"sh(#!/bin/bash
echo "sinfo $*" >>"$SCHEDULER/calls"
cat "$SCHEDULER/nodes"
)sh";

constexpr const char* kSrun = R"sh(#!/bin/bash
printf 'MPI plugin types are...\n\tnone\n\tpmix\nspecific pmix plugin versions available: pmix_v4\n'
)sh";

constexpr const char* kSacct = R"sh(#!/bin/bash
echo "sacct $*" >>"$SCHEDULER/calls"
exit 1
)sh";

// Three variants with two seeds each: three arrays of two tasks.
class Submission : public testing::Test {
 protected:
  Submission() {
    const std::vector<std::pair<const char*, const char*>> programs = {{"sbatch", kSbatch},   {"squeue", kSqueue},
                                                                       {"scancel", kScancel}, {"sinfo", kSinfo},
                                                                       {"srun", kSrun},       {"sacct", kSacct}};
    for (const auto& [name, text] : programs) {
      std::filesystem::permissions(here.file(std::string("bin/") + name, text), std::filesystem::perms::owner_all);
    }
    scheduler("nodes", "1-00:00:00|4\n");
    write_file("");
    here.file("site.toml", "name = \"Sample\"\nslurm.partition = \"p\"\nnode.cores = 4\n");
  }

  void write_file(const std::string& more) const {
    here.file("c.toml", "name = \"c\"\nbase = \"" + here.config("base") + "\"\nseeds = [1, 2]\n" + more +
                            "\n[variants]\nplain = {}\nkv = { model.attention.kv_bias = \"kv\" }\n"
                            "tvr = { optim.tvr.enabled = true }\n");
  }

  // A file of the scheduler's.
  void scheduler(const std::string& name, const std::string& content = "") const {
    here.file("scheduler/" + name, content);
  }
  void scheduler_without(const std::string& name) const { std::filesystem::remove(here / ("scheduler/" + name)); }
  std::string jobs() const { return content_of(here / "scheduler/jobs"); }
  std::string calls() const { return content_of(here / "scheduler/calls"); }

  std::string command(const std::string& action, const std::string& options = "") const {
    return "export SCHEDULER=" + (here / "scheduler").string() + " PATH=" + (here / "bin").string() + ":$PATH\n" +
           HEADROOM_BINARY " campaign " + action + " " + (here / "c.toml").string() + " --dir " +
           (here / "campaigns").string() + " " + options;
  }
  Outcome campaign(const std::string& action, const std::string& options = "") const {
    return shell(command(action, options));
  }
  Outcome run() const { return campaign("run", "--site " + (here / "site.toml").string()); }

  // The queue's tasks: "101_1".
  std::vector<std::string> queued() const {
    std::vector<std::string> ids;
    std::ifstream lines(here / "scheduler/jobs");
    for (std::string line; std::getline(lines, line);) ids.push_back(line.substr(0, line.find('|')));
    return ids;
  }
  int submissions() const {
    int count = 0;
    std::ifstream lines(here / "scheduler/calls");
    for (std::string line; std::getline(lines, line);) count += line.starts_with("sbatch ") ? 1 : 0;
    return count;
  }
  std::string state(const std::string& name) const {
    const Outcome outcome = campaign("status", "--json");
    const auto status = nlohmann::json::parse(outcome.output);
    for (const auto& entry : status["runs"]) {
      if (entry["run"] == name) return entry["state"];
    }
    return "no such run: " + outcome.output;
  }

  // A task begins, or is gone from the queue.
  void begins(const std::string& id) const { edit("s/^" + id + "|PENDING|[A-Za-z]*|/" + id + "|RUNNING|None|n1/"); }
  void is_gone(const std::string& id) const { edit("/^" + id + "[_|]/d"); }
  // Its script writes that down.
  void says(const std::string& name, const std::string& event, int status, const std::string& job) const {
    const std::string group = name.substr(0, name.find('-'));
    const std::string submissions = content_of(here / ("campaigns/c/journal/" + group + ".submissions.jsonl"));
    const std::size_t line = submissions.rfind("\"submitting\",\"submission\":\"");
    const std::size_t begin = submissions.find("c/", line);
    const std::string submission = submissions.substr(begin, submissions.find('"', begin) - begin);
    std::ofstream(here / ("campaigns/c/journal/" + name + ".attempts.jsonl"), std::ios::app)
        << nlohmann::json{{"time", "t"}, {"event", event},           {"status", status},
                          {"job", job},  {"submission", submission}, {"nodes", "n1"}}
        << "\n";
  }
  void is_finished(const std::string& name) const { here.file("campaigns/c/runs/" + name + "/finished", ""); }

  Workspace here;

 private:
  void edit(const std::string& with) const {
    ASSERT_EQ(shell("sed -i '" + with + "' " + (here / "scheduler/jobs").string()).status, 0);
  }
};

const std::vector<std::string> kAll = {"101_1", "101_2", "102_1", "102_2", "103_1", "103_2", "104"};

TEST_F(Submission, IsAnArrayAGroupAndAReportBehindThemAll) {
  const Outcome submitted = run();
  ASSERT_EQ(submitted.status, 0) << submitted.output;
  EXPECT_THAT(submitted.output, AllOf(HasSubstr("plain: job 101, 2 runs"), HasSubstr("kv: job 102, 2 runs"),
                                      HasSubstr("tvr: job 103, 2 runs"), HasSubstr("report: job 104")));
  EXPECT_EQ(queued(), kAll);
  EXPECT_THAT(calls(), AllOf(HasSubstr("--dependency=afterany:101:102:103 "), Not(HasSubstr("sacct"))));
  EXPECT_EQ(state("kv-seed2"), "queued");
}

TEST_F(Submission, IsNotMadeAgainWhateverHasBecomeOfTheRuns) {
  ASSERT_EQ(run().status, 0);
  ASSERT_EQ(run().status, 0);
  begins("101_1");
  is_gone("101_2");
  says("plain-seed2", "ended", 0, "101_2");
  is_finished("plain-seed2");
  is_gone("102");  // a whole group, without which the report waits for the others still
  for (const char* name : {"kv-seed1", "kv-seed2"}) {
    says(name, "ended", 6, "102");
  }
  const Outcome again = run();
  ASSERT_EQ(again.status, 0) << again.output;
  EXPECT_EQ(submissions(), 4) << calls();
  EXPECT_EQ(state("plain-seed1"), "running");
  EXPECT_EQ(state("plain-seed2"), "finished");
  EXPECT_EQ(state("kv-seed1"), "failed");
}

TEST_F(Submission, FromTwoPlacesAtOnceIsMadeOnce) {
  const std::string one = command("run", "--site " + (here / "site.toml").string());
  const Outcome both =
      shell("{ " + one + "\n} & first=$!\n" + one + "; second=$?\nwait $first; echo statuses $? $second");
  EXPECT_THAT(both.output, HasSubstr("statuses 0 0"));
  EXPECT_EQ(submissions(), 4) << calls();
}

TEST_F(Submission, ThatIsRefusedLeavesTheOnesBeforeAndIsMadeLater) {
  scheduler("refused", "tvr\n");
  const Outcome refused = run();
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.output, AllOf(HasSubstr("Invalid account"), HasSubstr("jobs 101, 102 were submitted, and stay"),
                                    HasSubstr("again submits what is left")));
  EXPECT_THAT(queued(), ElementsAre("101_1", "101_2", "102_1", "102_2"));
  EXPECT_EQ(state("tvr-seed1"), "waiting");
  scheduler_without("refused");
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(queued(), kAll);
  EXPECT_THAT(calls(), HasSubstr("--dependency=afterany:101:102:103 "));
}

TEST_F(Submission, WhoseAnswerIsLostIsFoundInTheQueue) {
  scheduler("lose-answer");
  const Outcome lost = run();
  EXPECT_EQ(lost.status, 0) << lost.output;
  EXPECT_EQ(queued(), kAll);
  scheduler_without("lose-answer");
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(submissions(), 4) << calls();
}

// The job is in the queue, and who submitted it dies before its number is written down.
TEST_F(Submission, OfADriverThatIsKilledBehindItIsFoundByItsName) {
  scheduler("kill-after");
  EXPECT_EQ(run().status, 137);
  scheduler_without("kill-after");
  EXPECT_THAT(queued(), ElementsAre("101_1", "101_2"));
  EXPECT_EQ(state("plain-seed2"), "queued");
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(queued(), kAll);
}

// The same, and the job has been there and gone when somebody looks.
TEST_F(Submission, OfADriverThatIsKilledBehindItIsFoundByWhatItsJobsSaid) {
  scheduler("kill-after");
  EXPECT_EQ(run().status, 137);
  scheduler_without("kill-after");
  is_gone("101");
  for (const std::string seed : {"1", "2"}) {
    says("plain-seed" + seed, "started", 0, "101_" + seed);
    says("plain-seed" + seed, "ended", 6, "101_" + seed);
  }
  EXPECT_EQ(state("plain-seed1"), "failed");
  ASSERT_EQ(run().status, 0);
  EXPECT_THAT(queued(), ElementsAre("102_1", "102_2", "103_1", "103_2", "104"));
}

// sbatch outlives the driver that called it, and hands the job over only while the next driver is there.
TEST_F(Submission, ThatOutlivesItsDriverIsWaitedForByTheNext) {
  scheduler("kill-before");
  EXPECT_EQ(run().status, 137);
  scheduler_without("kill-before");
  const std::string files = (here / "scheduler").string();
  const Outcome next = shell(
      "{ " + command("run", "--site " + (here / "site.toml").string()) + "\n} & next=$!\nuntil [ \"$(grep -c ^sinfo " +
      files + "/calls)\" -ge 2 ]; do kill -0 $next || exit 3; done\ntouch " + files + "/go-on\nwait $next");
  EXPECT_EQ(next.status, 0) << next.output;
  EXPECT_EQ(queued(), kAll);
}

TEST_F(Submission, IsNotMadeWhereTheSchedulerDoesNotAnswer) {
  scheduler("down");
  const Outcome refused = run();
  EXPECT_EQ(refused.status, 7);
  EXPECT_THAT(refused.output, AllOf(HasSubstr("Unable to contact slurm controller"), HasSubstr("Nothing was changed")));
  EXPECT_EQ(submissions(), 0);
  EXPECT_EQ(campaign("status").status, 7);
}

TEST_F(Submission, ThatThePartitionWouldKeepForEverIsRefusedBeforeIt) {
  scheduler("nodes", "");
  EXPECT_THAT(run().output, HasSubstr("partition p does not exist"));
  scheduler("nodes", "10:00|3\n30:00|4\n");
  EXPECT_THAT(run().output, AllOf(HasSubstr("00:30:00"), HasSubstr("1-00:00:00")));
  scheduler("nodes", "Notice | maintenance on Monday\ninfinite|3\n30:00|4\n");
  write_file("resources.nodes = 5\n[set]\ntrain.global_batch = 10\n");
  const Outcome small = run();
  EXPECT_EQ(small.status, 3);
  EXPECT_THAT(small.output, AllOf(HasSubstr("has 4 nodes"), HasSubstr("wants 5")));
  EXPECT_EQ(submissions(), 0);
}

TEST_F(Submission, IsTakenBackByStopAndMadeAgainByRun) {
  ASSERT_EQ(run().status, 0);
  begins("101_1");
  const Outcome stopped = campaign("stop");
  EXPECT_EQ(stopped.status, 0) << stopped.output;
  EXPECT_THAT(calls(), AllOf(HasSubstr("scancel --batch --signal=USR1 101_1\n"),
                             HasSubstr("scancel --state=PENDING 101_2 102_1 102_2 103_1 103_2\n")));
  says("plain-seed1", "started", 0, "101_1");
  says("plain-seed1", "stopped", 75, "101_1");
  is_gone("101_1");
  for (const char* name : {"plain-seed1", "plain-seed2", "kv-seed1"}) EXPECT_EQ(state(name), "stopped") << name;
  is_gone("104");  // the report came when all were over
  ASSERT_EQ(run().status, 0);
  EXPECT_THAT(queued(), ElementsAre("105_1", "105_2", "106_1", "106_2", "107_1", "107_2", "108"));
}

TEST_F(Submission, OfOneRunAloneIsWhatRetryAsksFor) {
  write_file("resources.at_once = 1\n");
  ASSERT_EQ(run().status, 0);
  says("kv-seed2", "started", 0, "102_2");
  says("kv-seed2", "ended", 6, "102_2");
  is_gone("102_2");
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(submissions(), 4) << "not by itself";
  const Outcome retried = campaign("retry", "kv-seed2");
  ASSERT_EQ(retried.status, 0) << retried.output;
  EXPECT_THAT(retried.output, AllOf(HasSubstr("1 run to begin again"), HasSubstr("kv: job 105, 1 run\n")));
  EXPECT_THAT(calls(), HasSubstr("sbatch --parsable --array=2%1 --comment=c/kv#2@"));
  EXPECT_EQ(state("kv-seed2"), "queued");
  // A report that waits for the new job as well takes the place of the old one.
  EXPECT_THAT(queued(), ElementsAre("101_1", "101_2", "102_1", "103_1", "103_2", "105_2", "106"));
}

TEST_F(Submission, WhoseJobLeftTheQueueBeforeItBeganIsCancelledUntilRetried) {
  ASSERT_EQ(run().status, 0);
  is_gone("103");
  EXPECT_EQ(state("tvr-seed1"), "cancelled");
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(submissions(), 4);
  ASSERT_EQ(campaign("retry").status, 0);
  EXPECT_EQ(state("tvr-seed1"), "queued");
}

TEST_F(Submission, OfAJobThatVanishedWithoutAWordIsMadeAgain) {
  ASSERT_EQ(run().status, 0);
  says("tvr-seed2", "started", 0, "103_2");
  is_gone("103_2");
  EXPECT_EQ(state("tvr-seed2"), "lost");
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(state("tvr-seed2"), "queued");
  EXPECT_THAT(queued(), AllOf(testing::Contains("105_2"), Not(testing::Contains("105_1"))));
}

TEST_F(Submission, NeverNeedsAccounting) {
  ASSERT_EQ(run().status, 0);
  campaign("status");
  campaign("stop", "kv-seed1");
  is_gone("101");
  campaign("retry");
  EXPECT_THAT(calls(), Not(HasSubstr("sacct")));
}

TEST_F(Submission, OfADryRunIsPrintedAndNotMade) {
  const Outcome dry = campaign("run", "--dry-run --site " + (here / "site.toml").string());
  EXPECT_EQ(dry.status, 0);
  EXPECT_THAT(dry.output,
              AllOf(HasSubstr("jobs/tvr.sbatch <=="), HasSubstr("#SBATCH --array=1,2 "), HasSubstr("report.sbatch")));
  EXPECT_FALSE(std::filesystem::exists(here / "campaigns"));
  EXPECT_EQ(submissions(), 0);
}

}  // namespace
}  // namespace headroom::test
