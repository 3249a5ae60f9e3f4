// metrics.jsonl: one JSON object a line, one line a step (docs/metrics.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/hash.h"
#include "base/patient_file.h"

namespace headroom {

// The beginning of a metrics file as a checkpoint knows it.
struct MetricsPrefix {
  std::uint64_t bytes = 0;
  std::string hash;
};

// The first line of a file that was begun anew in the middle of a run: it does not begin as an older checkpoint knows
// it.
inline const nlohmann::ordered_json kMetricsBegunAnew = {{"event", "metrics_begun_anew"}};

class MetricsWriter {
 public:
  // Opens the file to go on after `step`, the step that training resumes from (0: from the start, whatever the file
  // holds goes). Lines of later steps, events before later steps, and an unfinished last line, which a killed run
  // leaves, are dropped; lines without either (the provenance) stay. The file is rewritten beside and renamed. Throws
  // ExitCode::bad_checkpoint naming the line for a file that is no metrics file, or where it does not begin with
  // `prefix`; a file that is not there or was begun anew begins with anything. Throws ExitCode::disk_full.
  MetricsWriter(const std::filesystem::path& file, std::int64_t step, const std::optional<MetricsPrefix>& prefix = {});

  // All that was kept and written; nothing where the file is another than that, because somebody took it away
  // meanwhile. After sync().
  MetricsPrefix prefix() const;

  // Appends the record as one line, whole or not at all; numbers that are not finite become null. Readers see it at
  // once, unless the disk does not take it: then it waits for a later call (base/patient_file.h) and trouble() says so.
  void write(const nlohmann::ordered_json& record);

  // Waits until all records are on the disk. Throws ExitCode::disk_full if some still wait in memory.
  void sync() { file_.sync(); }

  // What is wrong and how many records wait; nothing while all is well.
  std::optional<std::string> trouble() const { return file_.trouble(); }

 private:
  RunningHash hash_;
  PatientFile file_;  // opened once what it keeps has been hashed
};

}  // namespace headroom
