// The tables of what happened over training, written to files only: metrics.jsonl's records and every snapshot's
// figures.
#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/table_parts.h"

namespace headroom::report {
namespace {

Table weights_table(const Study& study) {
  Table table{"weights", "Every parameter's statistics at every snapshot", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("step", "of the snapshot"),
                   plain("name", "parameter"),
                   plain("layer", "-1 outside the blocks"),
                   plain("mean", "mean"),
                   plain("std", "standard deviation"),
                   plain("max_abs", "largest |w|")};
  for (const Run& run : study.runs) {
    for (const HistoryPoint& point : run.history) {
      const WeightStatistics& w = point.weights;
      for (std::size_t i = 0; i < w.names.size(); ++i) {
        table.rows.push_back({text_cell(run.label), count_cell(point.step), text_cell(w.names[i]),
                              count_cell(w.layer[i]), number_cell(w.mean[i]), number_cell(w.std[i]),
                              number_cell(w.max_abs[i])});
      }
    }
  }
  return table;
}

Table evaluations_table(const Study& study) {
  Table table{"evaluations", "Held-out loss over training", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("step", "step"),
                   plain("tokens", "training tokens seen"),
                   plain("loss", "nats a token"),
                   plain("perplexity", "exp(loss)"),
                   plain("held_out_tokens", "tokens evaluated on")};
  for (const Run& run : study.runs) {
    if (!run.metrics) continue;
    for (const EvalPoint& point : run.metrics->evaluations) {
      table.rows.push_back({text_cell(run.label), count_cell(point.step), number_cell(point.tokens),
                            number_cell(point.loss), number_cell(point.perplexity),
                            number_cell(point.held_out_tokens)});
    }
  }
  return table;
}

Table steps_table(const Study& study) {
  Table table{"steps", "Every training step", {}, {}};
  table.columns = {plain("run", "run"), plain("step", "optimizer updates done"),
                   plain("tokens", "training tokens seen"), plain("loss", "nats a token"),
                   plain("tokens_per_second", "of the step")};
  for (const Run& run : study.runs) {
    if (!run.metrics) continue;
    for (const StepRecord& step : run.metrics->steps) {
      table.rows.push_back({text_cell(run.label), count_cell(step.step), number_cell(step.tokens),
                            number_cell(step.loss), number_cell(step.tokens_per_second)});
    }
  }
  return table;
}

// One row a layer of a step that has any of the figures; steps are thinned out so that a long run stays a readable
// file.
Table monitor_table(const Study& study) {
  constexpr std::size_t kMostSteps = 500;
  Table table{"monitor", "", {}, {}};
  table.title = fmt::format("The monitor's figures by layer, of at most {} evenly spread steps a run", kMostSteps);
  table.columns = {plain("run", "run"), plain("step", "optimizer updates done"), plain("layer", "from 0")};
  const std::tuple<const char*, const char*, std::vector<double> StepRecord::*> figures[] = {
      {"max", "max|h| of the training batch", &StepRecord::layer_max},
      {"median", "median|h|", &StepRecord::layer_median},
      {"ratio", "max / median", &StepRecord::layer_ratio},
      {"kv_bias_mass", "mean attention to the bias slot", &StepRecord::kv_bias_mass},
      {"alpha_attention", "DyT's alpha before attention", &StepRecord::alpha_attention},
      {"alpha_mlp", "DyT's alpha before the feed-forward", &StepRecord::alpha_mlp}};
  for (const auto& [key, help, values] : figures) table.columns.push_back(plain(key, help));
  for (const Run& run : study.runs) {
    if (!run.metrics) continue;
    const auto& steps = run.metrics->steps;
    const std::size_t stride = (steps.size() + kMostSteps - 1) / kMostSteps;
    for (std::size_t i = 0; i < steps.size(); i += stride) {
      std::size_t layers = 0;
      for (const auto& [key, help, values] : figures) layers = std::max(layers, (steps[i].*values).size());
      for (std::size_t layer = 0; layer < layers; ++layer) {
        Row row = {text_cell(run.label), count_cell(steps[i].step), count_cell(static_cast<std::int64_t>(layer))};
        for (const auto& [key, help, values] : figures) {
          const auto& all = steps[i].*values;
          row.push_back(layer < all.size() ? number_cell(all[layer]) : missing());
        }
        table.rows.push_back(std::move(row));
      }
    }
  }
  return table;
}

Table tvr_table(const Study& study) {
  Table table{"tvr", "Target Variance Rescaling", {}, {}};
  table.columns = {plain("run", "run"), plain("step", "on which it ran"), plain("rescaled", "matrices"),
                   plain("matrices", "looked at"),
                   plain("max_ratio", "largest standard deviation over its target, before")};
  for (const Run& run : study.runs) {
    if (!run.metrics) continue;
    for (const TvrEvent& event : run.metrics->tvr) {
      table.rows.push_back({text_cell(run.label), count_cell(event.step), number_cell(event.rescaled),
                            number_cell(event.matrices), number_cell(event.max_ratio)});
    }
  }
  return table;
}

Table snapshots_table(const Study& study) {
  Table table{
      "snapshots", "Block outputs by layer at every snapshot, averaged over each probe set's sequences", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("step", "of the snapshot"),
                   plain("tokens", "training tokens seen"),
                   plain("set", "sequences averaged over"),
                   plain("layer", "from 0"),
                   plain("max", "max|h|"),
                   plain("top2", "second largest |h|"),
                   plain("top3", "third largest |h|"),
                   plain("median", "median|h|"),
                   plain("ratio", "max / median"),
                   plain("crest", "max / rms")};
  for (const Run& run : study.runs) {
    for (const HistoryPoint& point : run.history) {
      for (const SetMeasures& m : point.sets) {
        for (std::size_t layer = 0; layer < m.layers.size(); ++layer) {
          const LayerMeasure& l = m.layers[layer];
          Row row = {text_cell(run.label), count_cell(point.step), number_cell(point.tokens), text_cell(m.set.name),
                     count_cell(static_cast<std::int64_t>(layer))};
          for (const double value : {l.max, l.top[1], l.top[2], l.median, l.ratio(), l.crest})
            row.push_back(number_cell(value));
          table.rows.push_back(std::move(row));
        }
      }
    }
  }
  return table;
}

}  // namespace

std::vector<Table> training_tables(const Study& study) {
  return {steps_table(study), evaluations_table(study), monitor_table(study),
          tvr_table(study),   snapshots_table(study),   weights_table(study)};
}

}  // namespace headroom::report
