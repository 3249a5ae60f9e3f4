// main() of the test programs that run under mpirun: GoogleTest on every rank. Rank 0 prints as usual, the others only
// what fails on them; all ranks leave with the same status.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>

#include "tests/mpi_world.h"

namespace headroom {
namespace {

ParallelRuntime* runtime_of_tests = nullptr;

// What ranks other than 0 print instead of GoogleTest's own listing.
class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

  // GoogleTest reports a failure under a lock that asking it for the current test would wait for.
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = fmt::format("{}.{}", test.test_suite_name(), test.name());
  }

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    fmt::print(stderr, "[rank {}] {} failed at {}:{}\n{}\n", rank_, test_,
               result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(), result.message());
    std::fflush(stderr);
  }

 private:
  int rank_;
  std::string test_;
};

int run_tests(ParallelRuntime& runtime) {
  if (runtime.rank() != 0) {
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter(runtime.rank()));  // GoogleTest deletes it
  }
  std::array<std::int64_t, 2> result = {RUN_ALL_TESTS(), testing::UnitTest::GetInstance()->test_to_run_count() == 0};
  runtime.world()->all_reduce(std::span<std::int64_t>(result), Reduction::max);
  if (result[1] != 0) fmt::print(stderr, "[rank {}] no test was run\n", runtime.rank());
  return result[0] == 0 && result[1] == 0 ? 0 : 1;
}

}  // namespace

ParallelRuntime& test_runtime() {
  return *runtime_of_tests;
}

}  // namespace headroom

int main(int argc, char** argv) {
  headroom::ParallelRuntime runtime(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  headroom::runtime_of_tests = &runtime;
  return headroom::run_tests(runtime);
}
