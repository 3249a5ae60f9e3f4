// The variants over their seeds as tables.
#include <fmt/format.h>

#include <cmath>

#include "analysis/report/format.h"
#include "analysis/report/seeds.h"
#include "analysis/report/table_parts.h"
#include "analysis/report/verdicts.h"

namespace headroom::report {
namespace {

nlohmann::json known(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

const char* scale_of(const SeedMeasure& measure) {
  return measure.averaging == Averaging::geometric ? "geometric" : "arithmetic";
}

Cell figure_cell(const SeedMeasure& measure, const SeedFigure& figure, const Group& group) {
  if (figure.values.empty()) return missing();
  const Estimate& e = figure.estimate;
  Cell cell = Cell::of(known(e.mean), shown_value(measure, e.mean));
  if (e.has_interval()) {
    cell.note = fmt::format("{} – {}", shown_value(measure, e.low), shown_value(measure, e.high));
  }
  if (figure.values.size() < group.runs.size()) {
    cell.note +=
        fmt::format("{}{} of {} seeds", cell.note.empty() ? "" : " · ", figure.values.size(), group.runs.size());
  }
  cell.mark = change_words(measure, figure);
  return cell;
}

struct MassiveCount {
  std::size_t massive = 0, unknown = 0, judged = 0;  // of runs with a snapshot
};

MassiveCount massive_runs(const Study& study, const Group& group) {
  MassiveCount count;
  for (const std::size_t run : group.runs) {
    if (!study.main(run)) continue;
    const auto any = any_massive(study, run);
    ++count.judged;
    count.massive += any.value_or(false) ? 1 : 0;
    count.unknown += any ? 0 : 1;
  }
  return count;
}

Cell massive_cell(const Study& study, const Group& group) {
  const MassiveCount count = massive_runs(study, group);
  if (count.judged == 0) return missing();
  return Cell::of(count.massive, fmt::format("{} of {}", count.massive, count.judged),
                  count.unknown > 0 ? fmt::format("unknown in {}", count.unknown) : "");
}

std::string run_names(const Study& study, const std::vector<std::size_t>& runs) {
  std::vector<std::string> names;
  for (const std::size_t run : runs) names.push_back(study.runs[run].name);
  return fmt::format("{}", fmt::join(names, ";"));
}

}  // namespace

Table seeds_page_table(const Study& study, const SeedComparison& comparison) {
  Table table{"seeds", "Variants over seeds: mean and 95 % interval", {{"measure", "", "", false}}, {}};
  table.columns.front().title = "Measure";
  if (comparison.measures.empty()) return table;
  Row sizes = {text_cell("Seeds")};
  Row massive = {text_cell("Runs with massive layers")};
  massive.front().note = "of those with a snapshot; its last";
  for (const Group& group : study.groups) {
    table.columns.push_back({group.label, group.label, "runs: " + run_names(study, group.runs)});
    table.columns.back().color = static_cast<int>(group.runs.front());
    sizes.push_back(count_cell(static_cast<std::int64_t>(group.runs.size())));
    massive.push_back(massive_cell(study, group));
  }
  table.rows.push_back(std::move(sizes));
  for (std::size_t m = 0; m < comparison.measures.size(); ++m) {
    const SeedMeasure& measure = comparison.measures[m];
    Row row = {text_cell(measure.title)};
    row.front().help = measure.help;
    if (measure.averaging == Averaging::geometric) row.front().note = "geometric";
    for (std::size_t g = 0; g < study.groups.size(); ++g) {
      row.push_back(figure_cell(measure, comparison.figures[m][g], study.groups[g]));
    }
    table.rows.push_back(std::move(row));
  }
  table.rows.push_back(std::move(massive));
  return table;
}

Table seeds_table(const Study& study, const SeedComparison& comparison) {
  Table table{"seeds", "Variants over seeds", {}, {}};
  table.columns = {
      plain("group", "runs that differ by their seed only"),
      plain("measure", "what is measured"),
      plain("help", "what the measure means"),
      plain("seeds", "runs in the group"),
      plain("n", "of them, those that have a value at the training tokens compared at"),
      plain("averaging", "geometric: mean and interval are worked out of the logarithms, for skewed positive figures"),
      plain("mean", "over the n; null where one of them is not finite"),
      plain("low",
            "of the 95 % confidence interval, mean - t(n-1) s / sqrt(n); of shares no less than 0; null for n = 1"),
      plain("high", "mean + t(n-1) s / sqrt(n), Student's t; of shares no more than 1"),
      plain("against_baseline", "higher or lower where this interval and the baseline's share no point, else null"),
      plain("change", "of marked differences: quotient of geometric means, difference of others"),
      plain("not_finite", "runs whose value is not finite, separated by semicolons"),
      plain("baseline", "the group compared with")};
  for (std::size_t g = 0; g < study.groups.size() && !comparison.measures.empty(); ++g) {
    const Group& group = study.groups[g];
    const Cell baseline = study.baseline_group ? text_cell(study.groups[*study.baseline_group].label) : missing();
    const auto seeds = count_cell(static_cast<std::int64_t>(group.runs.size()));
    for (std::size_t m = 0; m < comparison.measures.size(); ++m) {
      const SeedMeasure& measure = comparison.measures[m];
      const SeedFigure& figure = comparison.figures[m][g];
      const std::string words = change_words(measure, figure);
      table.rows.push_back({text_cell(group.label), text_cell(measure.key), text_cell(measure.help), seeds,
                            count_cell(static_cast<std::int64_t>(figure.values.size())), text_cell(scale_of(measure)),
                            number_cell(figure.estimate.mean), number_cell(figure.estimate.low),
                            number_cell(figure.estimate.high),
                            words.empty() ? missing() : text_cell(words.substr(0, words.find(','))),
                            number_cell(figure.change), text_cell(run_names(study, figure.unknown)), baseline});
    }
    const MassiveCount count = massive_runs(study, group);
    table.rows.push_back({text_cell(group.label), text_cell("massive_runs"),
                          text_cell("runs with a massive layer, with BOS or without, in their last snapshot; a count"),
                          seeds, count_cell(static_cast<std::int64_t>(count.judged)), text_cell("count"),
                          count_cell(static_cast<std::int64_t>(count.massive)), missing(), missing(), missing(),
                          missing(), text_cell(""), baseline});
  }
  return table;
}

Table seed_values_table(const Study& study, const SeedComparison& comparison) {
  Table table{"seed_values", "What the variants' means over seeds are of", {}, {}};
  table.columns = {plain("group", "runs that differ by their seed only"),
                   plain("run", "run"),
                   plain("run_directory", "its directory"),
                   plain("seed", "its seed"),
                   plain("measure", "as in the table seeds"),
                   plain("value", "null: not finite")};
  for (std::size_t m = 0; m < comparison.measures.size(); ++m) {
    for (std::size_t g = 0; g < study.groups.size(); ++g) {
      const SeedFigure& figure = comparison.figures[m][g];
      for (std::size_t i = 0; i < figure.runs.size(); ++i) {
        const Run& run = study.runs[figure.runs[i]];
        table.rows.push_back({text_cell(study.groups[g].label), text_cell(run.label), text_cell(run.directory.string()),
                              run.seed ? count_cell(*run.seed) : missing(), text_cell(comparison.measures[m].key),
                              number_cell(figure.values[i])});
      }
    }
  }
  return table;
}

}  // namespace headroom::report
