// Where a report is written: it grows in a directory of its own and takes its place when it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/report/figure.h"
#include "analysis/report/table.h"

namespace headroom::report {

// What a report is of: runs, or one model's study, which tables/study.json tells. One never takes the other's place.
enum class ReportKind : std::uint8_t { runs, study };

// A directory beside the place; what is left of it when it goes is removed.
class Workplace {
 public:
  // Throws ExitCode::usage where the place is there and neither empty nor a report of this kind, which
  // tables/findings.json makes it; ExitCode::disk_full where nothing can be made beside it.
  Workplace(const std::filesystem::path& place, ReportKind kind);
  // The same refusals, for before the work that the report is of.
  static void check(const std::filesystem::path& place, ReportKind kind) { Workplace(place, kind); }
  ~Workplace();
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Takes the place, over an earlier report. Returns it.
  std::filesystem::path publish();

 private:
  std::filesystem::path place_;
  std::filesystem::path path_;
};

// Throw ExitCode::disk_full.
void write_file(const std::filesystem::path& path, std::string_view content);
void write_tables(const std::filesystem::path& folder, const std::vector<const Table*>& tables);
void write_figures(const std::filesystem::path& folder, const std::vector<Section>& sections,
                   const std::vector<std::string>& colors);

// As files hold it; bytes of names that are no UTF-8 become U+FFFD.
std::string dump(const nlohmann::json& json);
std::string dump(const nlohmann::ordered_json& json);

}  // namespace headroom::report
