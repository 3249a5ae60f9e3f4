// TensorBoard event files, written without TensorFlow.
//
// A file is a chain of TFRecords, each (little-endian):
//   length u64 | masked CRC-32C of the length u32 | payload | masked CRC-32C of the payload u32
// with masked(c) = rotate_right(c, 15) + 0xa282ead8. A payload is a protocol-buffer message Event, of which we write:
//   1 wall_time double | 2 step int64 | 3 file_version string | 5 summary Summary | 7 session_log SessionLog
//   Summary:    1 value, repeated: { 1 tag string | 2 simple_value float }
//   SessionLog: 1 status enum (1 = START)
// (tensorboard/compat/proto/event.proto and summary.proto; tensorflow/core/lib/io/record_writer.h.)
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/patient_file.h"

namespace headroom {

using Scalars = std::vector<std::pair<std::string, double>>;

// The numbers of a metrics record as TensorBoard shows them: "loss"; "eval/loss" for an object's; "layer_max/00" for a
// list's, "dyt_alpha/00/1" for a list of lists'. `step`, strings and nulls are left out, true and false are 1 and 0.
Scalars scalars_of(const nlohmann::ordered_json& record);

class EventWriter {
 public:
  // Begins a new event file in `directory`, which must exist. `step` as in MetricsWriter: what earlier files hold of
  // later steps, TensorBoard will not show. Throws ExitCode::disk_full where the file cannot be made.
  EventWriter(const std::filesystem::path& directory, std::int64_t step);

  // Appends the scalars of a step as one event; what the disk does not take waits for a later call
  // (base/patient_file.h).
  void write(std::int64_t step, const Scalars& scalars);

  // Waits until all events are on the disk. Throws ExitCode::disk_full if some still wait in memory.
  void sync() { file_.sync(); }

  // What is wrong and how many events wait; nothing while all is well.
  std::optional<std::string> trouble() const { return file_.trouble(); }

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  PatientFile file_;
};

// CRC-32C (Castagnoli) and its masked form.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

// The payload framed as a TFRecord.
std::string tf_record(std::string_view payload);

}  // namespace headroom
