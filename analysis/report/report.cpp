#include "analysis/report/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"
#include "analysis/report/page.h"
#include "analysis/report/place.h"
#include "analysis/report/seed_lines.h"
#include "analysis/report/seeds.h"
#include "analysis/report/study.h"
#include "base/error.h"

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

}  // namespace

fs::path write_report(const ReportOptions& options) {
  HEADROOM_CHECK(!options.runs.empty(), "a report needs a run");
  const Study study = make_study(options.runs, options.thresholds);
  const fs::path place =
      fs::weakly_canonical(fs::absolute(options.out.empty() ? default_place(options, study) : options.out));

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

  Workplace workplace(place, ReportKind::runs);
  write_tables(workplace.path() / "tables", tables);
  write_file(workplace.path() / "tables" / "findings.json", dump(findings_json(study, page)));
  write_figures(workplace.path() / "figures", page.sections, study.colors);
  write_file(workplace.path() / "index.html", to_html(study, page));
  return workplace.publish() / "index.html";
}

}  // namespace headroom::report
