// The published table's columns, for the runs of this report.
#include <fmt/format.h>

#include <cmath>

#include "analysis/report/format.h"
#include "analysis/report/table_parts.h"
#include "analysis/report/verdicts.h"

namespace headroom::report {
namespace {

Cell verdict_cell(const Study& study, std::size_t run) {
  const auto verdict = mitigated(study, run);
  if (!verdict) return missing();
  Cell cell = Cell::of(key_of(*verdict), words_of(*verdict), layers_note(study, run));
  const bool good = *verdict == Mitigated::yes;
  cell.badge = good ? "good" : *verdict == Mitigated::none_seen ? "plain" : "bad";
  return cell;
}

Cell any_massive_cell(const Study& study, std::size_t run) {
  const auto any = any_massive(study, run);
  return Cell::of(any ? nlohmann::json(*any) : nlohmann::json(nullptr), "");
}

Cell layers_cell(const SetMeasures* m) {
  return m ? text_cell(fmt::format("{}", fmt::join(m->massive_layers, ";"))) : missing();
}

Cell measured_cell(const Run& run) {
  if (run.history.empty()) return missing();
  const HistoryPoint& last = run.history.back();
  return Cell::of(last.step, "step " + format_count(last.step), format_amount(last.tokens) + " tokens");
}

void add_main_figures(const Study& study, std::size_t run, Row& row) {
  const SetMeasures* m = study.main(run);
  if (!m) {
    row.insert(row.end(), 6, missing());
    return;
  }
  row.push_back(figure_cell(m->max().max, layer_note(m->max_layer),
                            base_figure(study, run, [](const SetMeasures& b) { return b.max().max; })));
  row.push_back(count_cell(static_cast<std::int64_t>(m->max_layer)));
  row.push_back(figure_cell(m->median().median, layer_note(m->median_layer)));
  row.push_back(count_cell(static_cast<std::int64_t>(m->median_layer)));
  row.push_back(figure_cell(m->ratio().ratio(), layer_note(m->ratio_layer),
                            base_figure(study, run, [](const SetMeasures& b) { return b.ratio().ratio(); })));
  row.push_back(count_cell(static_cast<std::int64_t>(m->ratio_layer)));
}

void add_figures_without_bos(const SetMeasures* m, Row& row) {
  if (!m) {
    row.insert(row.end(), 4, missing());
    return;
  }
  row.push_back(figure_cell(m->max().max, layer_note(m->max_layer)));
  row.push_back(count_cell(static_cast<std::int64_t>(m->max_layer)));
  row.push_back(figure_cell(m->ratio().ratio(), layer_note(m->ratio_layer)));
  row.push_back(count_cell(static_cast<std::int64_t>(m->ratio_layer)));
}

// Perplexity and loss of the held-out split and the tokens they were taken at. Where the runs have no evaluation in
// common each shows its last, with its tokens and no change.
void add_held_out(const Study& study, std::size_t run, Row& row) {
  const EvalPoint* point = study.evaluation(run);
  if (!point) {
    row.insert(row.end(), 3, missing());
    return;
  }
  const EvalPoint* base = study.baseline && *study.baseline != run ? study.evaluation(*study.baseline) : nullptr;
  const bool comparable = base && study.evaluated_tokens;
  row.push_back(figure_cell(point->perplexity,
                            study.evaluated_tokens ? "" : "at " + format_amount(point->tokens) + " tokens",
                            comparable ? base->perplexity : kUnknown));
  row.push_back(number_cell(point->loss, 4));
  row.push_back(number_cell(point->tokens));
}

// Speed depends on the machine and its load more than on the variant, so it is given with its spread and not compared.
void add_speed(const Run& run, Row& row) {
  const Speed speed = run.metrics ? run.metrics->speed() : Speed{};
  const std::string spread = std::isfinite(speed.median) ? fmt::format("{} – {}", format_number(speed.lower_quartile),
                                                                       format_number(speed.upper_quartile))
                                                         : std::string{};
  row.push_back(number_cell(speed.median));
  row.back().note = spread;
  row.push_back(number_cell(speed.lower_quartile));
  row.push_back(number_cell(speed.upper_quartile));
}

std::vector<Column> columns_of(const Study& study) {
  const std::string over = main_words(study);
  const std::string without = without_bos_words(study);
  const std::string layer = "its layer, from 0";
  return {
      {"run", "Run", "variant, and the run's directory", false},
      {"run_directory", "", "the run's directory", false},
      {"mitigated", "Mitigated?",
       fmt::format("yes: no layer's mean max|h| exceeds {} and {} times its mean median|h|, with BOS and without, and "
                   "the baseline's does; none seen: nor does the baseline's",
                   format_number(study.thresholds.absolute), format_number(study.thresholds.ratio)),
       false},
      {"any_massive_layer", "", "whether any layer passes both tests, with BOS or without", false},
      {"massive_layers", "", "layers that pass both tests, separated by semicolons: " + over, false},
      {"massive_layers_no_bos", "", "the same: " + without, false},
      {"measured_at_step", "Measured", "step and training tokens of the last snapshot, which the activations are of"},
      {"max", "Max |h|", "largest layer mean of max|h|: " + over},
      {"max_layer", "", layer},
      {"median", "Median |h|", "largest layer mean of median|h|, as the published table has it: " + over},
      {"median_layer", "", layer},
      {"ratio", "Max / median", "largest max/median of one layer: " + over},
      {"ratio_layer", "", layer},
      {"max_no_bos", "Max, no BOS", "largest layer mean of max|h|: " + without},
      {"max_no_bos_layer", "", layer},
      {"ratio_no_bos", "Ratio, no BOS", "largest max/median of one layer: " + without},
      {"ratio_no_bos_layer", "", layer},
      {"perplexity", "Held-out ppl",
       study.evaluated_tokens ? fmt::format("exp(mean loss) on the held-out split at {} training tokens",
                                            format_amount(*study.evaluated_tokens))
                              : "exp(mean loss) on the held-out split at each run's last evaluation"},
      {"held_out_loss", "", "nats a token"},
      {"evaluated_at_tokens", "", "training tokens seen before that evaluation"},
      {"train_loss", "Train loss",
       fmt::format("mean of the last 5 % of the steps up to {} training tokens, nats a token",
                   format_amount(study.equal_tokens))},
      {"compared_at_tokens", "", "training tokens that every run has seen"},
      {"tokens_seen", "Tokens", "training tokens seen by the end of the run"},
      {"tokens_per_second", "Tokens/s",
       "median over the steps but the first, and its quartiles; of this machine and load"},
      {"tokens_per_second_q1", "", "lower quartile"},
      {"tokens_per_second_q3", "", "upper quartile"},
  };
}

}  // namespace

Table summary_table(const Study& study) {
  Table table{"summary", "Massive activations and quality", columns_of(study), {}};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* without = study.without_bos(run);
    Row row = {run_cell(study, run, true),    text_cell(study.runs[run].directory.string()),
               verdict_cell(study, run),      any_massive_cell(study, run),
               layers_cell(study.main(run)),  layers_cell(without),
               measured_cell(study.runs[run])};
    add_main_figures(study, run, row);
    add_figures_without_bos(without, row);
    add_held_out(study, run, row);
    row.push_back(number_cell(study.training_loss(run), 4));
    if (study.baseline && *study.baseline != run) {
      row.back().note = format_change(study.training_loss(run), study.training_loss(*study.baseline));
    }
    row.push_back(number_cell(study.equal_tokens));
    row.push_back(Cell::of(study.runs[run].tokens_seen(), format_amount(study.runs[run].tokens_seen())));
    add_speed(study.runs[run], row);
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace headroom::report
