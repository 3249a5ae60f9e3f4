#include "trainer/metrics.h"

#include <fstream>
#include <optional>
#include <string>

#include "analysis/step_number.h"
#include "base/append_file.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom {
namespace {

// Whether a line belongs to what came before the resumed step.
bool kept(const std::string& line, std::int64_t number, std::int64_t step, const std::filesystem::path& file) {
  const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const bool has_step = record.is_object() && record.contains("step");
  const std::optional<std::int64_t> its_step = has_step ? step_number(record["step"]) : std::nullopt;
  if (!record.is_object() || (has_step && !its_step)) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("'{}' line {} is no metrics record", file.string(), number),
                "Move the file away: the run goes on without its past metrics.");
  }
  return !its_step || *its_step <= step;
}

// Cuts the file back to what a run resumed after `step` may keep.
void cut_back(const std::filesystem::path& file, std::int64_t step) {
  if (!std::filesystem::exists(file)) return;
  const std::filesystem::path partial = file.string() + ".partial";
  std::filesystem::remove(partial);
  AppendFile beside(partial);
  if (step > 0) {
    std::ifstream stream(file, std::ios::binary);
    std::string line;
    // A last line without its end (eof) was cut off while it was written.
    for (std::int64_t number = 1; std::getline(stream, line) && !stream.eof(); ++number) {
      if (kept(line, number, step, file)) beside.append(line + "\n");
    }
    if (stream.bad()) throw Error(ExitCode::bad_checkpoint, fmt::format("cannot read '{}'", file.string()));
  }
  beside.sync();
  std::error_code error;
  std::filesystem::rename(partial, file, error);
  if (error) throw_write_error(file, "replace", error.value());
}

}  // namespace

MetricsWriter::MetricsWriter(const std::filesystem::path& file, std::int64_t step)
    : file_((cut_back(file, step), file)) {}

void MetricsWriter::write(const nlohmann::ordered_json& record) {
  // dump() writes null for what is not finite; a stray byte in a string must not lose the record.
  file_.append(record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace headroom
