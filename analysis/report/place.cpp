#include "analysis/report/place.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "analysis/report/svg.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom::report {
namespace {

namespace fs = std::filesystem;

void check_place(const fs::path& place, ReportKind kind) {
  if (!fs::exists(place)) return;
  if (fs::is_directory(place)) {
    const bool study = fs::exists(place / "tables" / "study.json");
    const bool report = study || fs::exists(place / "tables" / "findings.json");
    if (fs::is_empty(place) || (report && study == (kind == ReportKind::study))) return;
  }
  throw Error(
      ExitCode::usage,
      fmt::format("{} exists and is no {}", place.string(), kind == ReportKind::study ? "study" : "report of runs"),
      "Choose another directory with --out.");
}

}  // namespace

Workplace::Workplace(const fs::path& place, ReportKind kind) : place_(place) {
  check_place(place, kind);
  make_directories(place.parent_path());
  std::string pattern = place.string() + ".XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw_write_error(place, "create a directory beside", errno);
  path_ = pattern;
  fs::permissions(path_, fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read |
                             fs::perms::others_exec);
}

Workplace::~Workplace() {
  std::error_code error;  // nothing can be done about it, and the reason for leaving early matters more
  fs::remove_all(path_, error);
}

fs::path Workplace::publish() {
  fs::remove_all(place_);
  fs::rename(path_, place_);
  return place_;
}

// Nobody sees the file before the whole report gets its name, and a report can be made again: a plain write, checked
// but not synchronised, since waiting for the disk some two hundred times would be most of the work.
void write_file(const fs::path& path, std::string_view content) {
  std::ofstream out(path, std::ios::binary);
  if (!out) throw_write_error(path, "create", errno);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  if (!out) throw_write_error(path, "write", errno);
}

void write_tables(const fs::path& folder, const std::vector<const Table*>& tables) {
  make_directories(folder);
  for (const Table* table : tables) {
    write_file(folder / (table->name + ".csv"), to_csv(*table));
    write_file(folder / (table->name + ".json"), dump(to_json(*table)));
  }
}

void write_figures(const fs::path& folder, const std::vector<Section>& sections,
                   const std::vector<std::string>& colors) {
  make_directories(folder);
  for (const Section& section : sections) {
    for (const Figure& figure : section.figures) {
      for (const View& view : figure.views) {
        if (view.svg.empty() || view.panels.empty()) continue;
        write_file(folder / (view.svg + ".svg"), to_svg(figure.title, view, colors));
      }
    }
  }
}

std::string dump(const nlohmann::json& json) {
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string dump(const nlohmann::ordered_json& json) {
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace headroom::report
