// metrics.jsonl as a run finds it that goes on after step 7.
#include "trainer/metrics.h"
#include "tests/fuzz/target.h"
#include "tests/scratch.h"

namespace headroom::fuzz {
namespace {

constexpr std::int64_t kStep = 7;

std::string content_after_opening(const std::filesystem::path& path) {
  const MetricsWriter writer(path, kStep);
  return test::content_of(path);
}

// Whole lines, each a record of a step that the run keeps.
void check_kept(const std::string& kept) {
  for (std::size_t begin = 0; begin < kept.size();) {
    const std::size_t end = kept.find('\n', begin);
    HEADROOM_CHECK(end != std::string::npos, "a line without its end was kept");
    const auto record = nlohmann::json::parse(kept.substr(begin, end - begin));
    HEADROOM_CHECK(record.is_object(), "no object was kept");
    if (const auto step = record.find("step"); step != record.end()) {
      const bool later = step->is_number_unsigned() && step->get<std::uint64_t>() > std::uint64_t{kStep};
      HEADROOM_CHECK(step->is_number_integer() && !later, "step {} was kept", step->dump());
    }
    begin = end + 1;
  }
}

void drive(std::string_view bytes) {
  static const test::Scratch scratch;
  const auto path = scratch.file("metrics.jsonl", std::string(bytes));
  const std::string kept = content_after_opening(path);
  check_kept(kept);
  HEADROOM_CHECK(content_after_opening(path) == kept, "opened again, the file changed");
  MetricsWriter(path, kStep).write({{"step", kStep + 1}});
  HEADROOM_CHECK(test::content_of(path) == kept + "{\"step\":8}\n", "the next record does not follow the kept ones");
}

const Registration kRegistered({"metrics", {ExitCode::bad_checkpoint}, drive});

}  // namespace
}  // namespace headroom::fuzz
