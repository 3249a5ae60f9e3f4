#include "analysis/report/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <unistd.h>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <string_view>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"
#include "analysis/report/page.h"
#include "analysis/report/seed_lines.h"
#include "analysis/report/seeds.h"
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
  if (study.has_seeds()) {
    return fmt::format("Massive activations in {} runs of {} variants", study.runs.size(), study.groups.size());
  }
  return fmt::format("Massive activations in {} runs", study.runs.size());
}

// Only an empty place or an earlier report may be replaced.
void check_place(const fs::path& place) {
  if (!fs::exists(place)) return;
  if (fs::is_directory(place) && (fs::is_empty(place) || fs::exists(place / "tables" / "findings.json"))) return;
  throw Error(ExitCode::usage, fmt::format("{} exists and is no report", place.string()),
              "Choose another directory with --out.");
}

// A directory of its own beside the place, in which the report grows; what is left of it when it goes is removed.
class Workplace {
 public:
  explicit Workplace(const fs::path& place) {
    make_directories(place.parent_path());
    std::string pattern = place.string() + ".XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw_write_error(place, "create a directory beside", errno);
    path_ = pattern;
    fs::permissions(path_, fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec |
                               fs::perms::others_read | fs::perms::others_exec);
  }
  ~Workplace() {
    std::error_code error;  // nothing can be done about it, and the reason for leaving early matters more
    fs::remove_all(path_, error);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

nlohmann::json findings_json(const Study& study, const PageContents& page) {
  auto out = nlohmann::json::array();
  for (const auto* list : {&page.findings, &page.scale}) {
    for (const Finding& finding : *list) {
      const auto index = static_cast<std::size_t>(finding.run);
      const nlohmann::json run = finding.run < 0      ? nlohmann::json(nullptr)
                                 : finding.over_seeds ? nlohmann::json(study.group_of(index).label)
                                                      : nlohmann::json(study.runs[index].label);
      out.push_back(
          {{"about", list == &page.findings ? "activations" : "scale"}, {"run", run}, {"text", finding.text}});
    }
  }
  return out;
}

std::string dump(const nlohmann::json& json) {
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
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

void write_figures(const fs::path& folder, const Study& study, const std::vector<Section>& sections) {
  make_directories(folder);
  for (const Section& section : sections) {
    for (const Figure& figure : section.figures) {
      for (const View& view : figure.views) {
        if (!view.svg.empty() && !view.panels.empty()) {
          write_file(folder / (view.svg + ".svg"), to_svg(figure.title, view, study.colors));
        }
      }
    }
  }
}

}  // namespace

fs::path write_report(const ReportOptions& options) {
  HEADROOM_CHECK(!options.runs.empty(), "a report needs a run");
  const Study study = make_study(options.runs, options.thresholds);
  const fs::path place =
      fs::weakly_canonical(fs::absolute(options.out.empty() ? default_place(options, study) : options.out));
  check_place(place);

  PageContents page;
  page.title = options.title.empty() ? default_title(study) : options.title;
  page.written = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  page.remarks = options.remarks;
  page.summary = summary_table(study);
  page.sentences = sentences_table(study);
  page.scale_free = scale_free_table(study);
  page.massive_elements = massive_elements_table(study);
  const SeedComparison comparison = compare_seeds(study);
  page.findings = findings(study, comparison);
  page.scale = scale_remarks(study, comparison);
  page.sections = {training_section(study),  magnitude_section(study), probe_section(study),
                   attention_section(study), precision_section(study), weights_section(study)};
  gather_seeds(study, page.sections);
  page.seeds = seeds_page_table(study, comparison);
  page.seed_rule = seed_rule(study, comparison);
  page.seed_remarks = seed_remarks(study, comparison);
  if (study.has_seeds()) page.sections.insert(page.sections.begin(), seeds_section(study, comparison));
  make_file_names_unique(page.sections);
  const std::vector<Table> details = detail_tables(study);
  const std::vector<Table> training = training_tables(study);
  std::vector<const Table*> tables = {&page.summary, &page.sentences, &page.scale_free, &page.massive_elements};
  const std::vector<Table> over_seeds =
      study.has_seeds() ? std::vector<Table>{seeds_table(study, comparison), seed_values_table(study, comparison)}
                        : std::vector<Table>{};
  for (const auto* list : {&over_seeds, &details, &training}) {
    for (const Table& table : *list) tables.push_back(&table);
  }
  for (const Table* table : tables) page.table_files.push_back(table->name);

  const Workplace workplace(place);
  write_tables(workplace.path() / "tables", tables);
  write_file(workplace.path() / "tables" / "findings.json", dump(findings_json(study, page)));
  write_figures(workplace.path() / "figures", study, page.sections);
  write_file(workplace.path() / "index.html", to_html(study, page));
  fs::remove_all(place);
  fs::rename(workplace.path(), place);
  return place / "index.html";
}

}  // namespace headroom::report
