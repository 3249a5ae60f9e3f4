#include "trainer/metrics.h"

#include <algorithm>
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
  const char* const key = record.is_object() && record.contains("event") ? "before_step" : "step";
  const bool has_step = record.is_object() && record.contains(key);
  const std::optional<std::int64_t> its_step = has_step ? step_number(record[key]) : std::nullopt;
  if (!record.is_object() || (has_step && !its_step)) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("'{}' line {} is no metrics record", file.string(), number),
                "Move the file away: the run goes on without its past metrics.");
  }
  return !its_step || *its_step <= step;
}

void expect_prefix(const std::filesystem::path& file, const MetricsPrefix& prefix) {
  std::ifstream stream(file, std::ios::binary);
  std::string first;
  if (std::getline(stream, first) && first == kMetricsBegunAnew.dump()) return;
  stream.clear();
  stream.seekg(0);
  RunningHash hash;
  std::string block(std::size_t{1} << 20, '\0');
  while (hash.bytes() < prefix.bytes && stream) {
    stream.read(block.data(),
                static_cast<std::streamsize>(std::min<std::uint64_t>(block.size(), prefix.bytes - hash.bytes())));
    hash.add(std::string_view(block).substr(0, static_cast<std::size_t>(stream.gcount())));
  }
  if (hash.bytes() == prefix.bytes && hash.digits() == prefix.hash) return;
  throw Error(ExitCode::bad_checkpoint,
              fmt::format("'{}' is not as it was when the checkpoint was made: its first {} bytes were changed or cut",
                          file.string(), prefix.bytes),
              "Restore it, or move it away: the run goes on without its past metrics.");
}

// Cuts the file back to what a run resumed after `step` may keep, and adds that to the hash.
void cut_back(const std::filesystem::path& file, std::int64_t step, const std::optional<MetricsPrefix>& prefix,
              RunningHash& hash) {
  if (!std::filesystem::exists(file)) return;
  if (prefix) expect_prefix(file, *prefix);
  const std::filesystem::path partial = file.string() + ".partial";
  std::filesystem::remove(partial);
  AppendFile beside(partial);
  if (step > 0) {
    std::ifstream stream(file, std::ios::binary);
    std::string line;
    // A last line without its end (eof) was cut off while it was written.
    for (std::int64_t number = 1; std::getline(stream, line) && !stream.eof(); ++number) {
      if (!kept(line, number, step, file)) continue;
      line += '\n';
      beside.append(line);
      hash.add(line);
    }
    if (stream.bad()) throw Error(ExitCode::bad_checkpoint, fmt::format("cannot read '{}'", file.string()));
  }
  beside.sync();
  std::error_code error;
  std::filesystem::rename(partial, file, error);
  if (error) throw_write_error(file, "replace", error.value());
}

}  // namespace

MetricsWriter::MetricsWriter(const std::filesystem::path& file, std::int64_t step,
                             const std::optional<MetricsPrefix>& prefix)
    : file_((cut_back(file, step, prefix, hash_), file)) {}

MetricsPrefix MetricsWriter::prefix() const {
  std::error_code error;
  const auto size = std::filesystem::file_size(file_.path(), error);
  if (error || size != hash_.bytes()) return {0, RunningHash().digits()};
  return {hash_.bytes(), hash_.digits()};
}

void MetricsWriter::write(const nlohmann::ordered_json& record) {
  // dump() writes null for what is not finite; a stray byte in a string must not lose the record.
  std::string line = record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  hash_.add(line);
  file_.append(std::move(line));
}

}  // namespace headroom
