#include "analysis/report/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "analysis/report/format.h"
#include "analysis/report/page.h"
#include "analysis/report/study.h"
#include "analysis/report/svg.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom::report {
namespace {

namespace fs = std::filesystem;

fs::path default_place(const ReportOptions& options, const Study& study) {
  if (options.runs.size() == 1) return options.runs.front() / "report";
  std::string name = "report";
  for (std::size_t i = 0; i < study.runs.size() && name.size() < 100; ++i) name += "-" + file_stem(study.runs[i].name);
  return fs::weakly_canonical(options.runs.front()).parent_path() / name;
}

std::string default_title(const Study& study) {
  if (study.runs.size() == 1) return fmt::format("Activations of {}", study.runs.front().label);
  return fmt::format("Massive activations in {} runs", study.runs.size());
}

// Only an empty place or an earlier report may be replaced.
void check_place(const fs::path& place) {
  if (!fs::exists(place)) return;
  if (fs::is_directory(place) && (fs::is_empty(place) || fs::exists(place / "tables" / "findings.json"))) return;
  throw Error(ExitCode::usage, fmt::format("{} exists and is no report", place.string()),
              "Choose another directory with --out.");
}

nlohmann::json findings_json(const Study& study, const PageContents& page) {
  auto out = nlohmann::json::array();
  for (const auto* list : {&page.findings, &page.scale}) {
    for (const Finding& finding : *list) {
      const nlohmann::json run = finding.run < 0
                                     ? nlohmann::json(nullptr)
                                     : nlohmann::json(study.runs[static_cast<std::size_t>(finding.run)].label);
      out.push_back(
          {{"about", list == &page.findings ? "activations" : "scale"}, {"run", run}, {"text", finding.text}});
    }
  }
  return out;
}

std::string dump(const nlohmann::json& json) {
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void write_tables(const fs::path& folder, const std::vector<const Table*>& tables) {
  fs::create_directories(folder);
  for (const Table* table : tables) {
    write_file_atomically(folder / (table->name + ".csv"), to_csv(*table));
    write_file_atomically(folder / (table->name + ".json"), dump(to_json(*table)));
  }
}

void write_figures(const fs::path& folder, const Study& study, const std::vector<Section>& sections) {
  fs::create_directories(folder);
  for (const Section& section : sections) {
    for (const Figure& figure : section.figures) {
      for (const View& view : figure.views) {
        if (!view.svg.empty() && !view.panels.empty()) {
          write_file_atomically(folder / (view.svg + ".svg"), to_svg(figure.title, view, study.colors));
        }
      }
    }
  }
}

}  // namespace

fs::path write_report(const ReportOptions& options) {
  HEADROOM_CHECK(!options.runs.empty(), "a report needs a run");
  const Study study = make_study(options.runs, options.thresholds);
  const fs::path place = fs::weakly_canonical(options.out.empty() ? default_place(options, study) : options.out);
  check_place(place);

  PageContents page;
  page.title = options.title.empty() ? default_title(study) : options.title;
  page.written = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  page.summary = summary_table(study);
  page.scale_free = scale_free_table(study);
  page.findings = findings(study);
  page.scale = scale_remarks(study);
  page.sections = {training_section(study),  magnitude_section(study), probe_section(study),
                   attention_section(study), precision_section(study), weights_section(study)};
  const std::vector<Table> details = detail_tables(study);
  std::vector<const Table*> tables = {&page.summary, &page.scale_free};
  for (const Table& table : details) tables.push_back(&table);
  for (const Table* table : tables) page.table_files.push_back(table->name);

  fs::path partial = place;
  partial += ".partial";
  fs::remove_all(partial);
  fs::create_directories(partial);
  write_tables(partial / "tables", tables);
  write_file_atomically(partial / "tables" / "findings.json", dump(findings_json(study, page)));
  write_figures(partial / "figures", study, page.sections);
  write_file_atomically(partial / "index.html", to_html(study, page));
  fs::remove_all(place);
  fs::rename(partial, place);
  return place / "index.html";
}

}  // namespace headroom::report
