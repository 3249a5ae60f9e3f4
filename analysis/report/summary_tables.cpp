// The tables shown on top of the page: the published table's columns, and the scale-free companions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/format.h"
#include "analysis/report/study.h"

namespace headroom::report {
namespace {

using Row = std::vector<Cell>;

Cell missing() {
  return Cell::of(nullptr, "–");
}

Cell run_cell(const Study& study, std::size_t run, bool with_name) {
  Cell cell = text_cell(study.runs[run].label);
  cell.color = static_cast<int>(run);
  if (with_name && study.runs[run].label != study.runs[run].name) cell.note = study.runs[run].name;
  return cell;
}

// A figure with the layer it is from, and its change from the baseline's.
Cell figure_cell(double value, const std::string& where, double base) {
  Cell cell = number_cell(value);
  cell.note = where;
  const std::string change = format_change(value, base);
  if (!change.empty()) cell.note += (where.empty() ? "" : " · ") + change;
  return cell;
}

std::string layer_note(std::size_t layer) {
  return fmt::format("layer {}", layer);
}

// Whether the run's largest |h| ever passed: "mitigated" means something only where the baseline has massive layers.
Cell verdict_cell(const Study& study, std::size_t run, const SetMeasures* m) {
  if (!m) return missing();
  Cell cell = Cell::of(m->massive_layers.empty(), "");
  const SetMeasures* base = study.baseline ? study.main(*study.baseline) : nullptr;
  if (!m->massive_layers.empty()) {
    cell.text = "no";
    cell.badge = "bad";
    cell.note =
        fmt::format("massive: layer{} {}", m->massive_layers.size() > 1 ? "s" : "", format_ranges(m->massive_layers));
  } else if (base && run != *study.baseline && !base->massive_layers.empty()) {
    cell.text = "yes";
    cell.badge = "good";
    cell.note = fmt::format("0 of {} layers massive", m->layers.size());
  } else {
    cell.text = "none seen";
    cell.badge = "plain";
    cell.note = fmt::format("0 of {} layers massive", m->layers.size());
  }
  return cell;
}

struct Quality {
  double perplexity = kUnknown, held_out_loss = kUnknown, loss = kUnknown, speed = kUnknown;
  double tokens_at_evaluation = kUnknown;
};

Quality quality_of(const Study& study, std::size_t run) {
  Quality q;
  const auto& metrics = study.runs[run].metrics;
  if (!metrics) return q;
  q.loss = metrics->smoothed_loss_at(study.equal_tokens);
  q.speed = metrics->typical_tokens_per_second();
  if (const EvalPoint* point = metrics->evaluation_at(study.equal_tokens)) {
    q.perplexity = point->perplexity;
    q.held_out_loss = point->loss;
    q.tokens_at_evaluation = point->tokens;
  }
  return q;
}

// The baseline's figure, NaN where there is no baseline or the row is its own.
template <class Figure>
double base_of(const Study& study, std::size_t run, Figure figure) {
  return study.baseline && *study.baseline != run ? figure(*study.baseline) : kUnknown;
}

}  // namespace

Table summary_table(const Study& study) {
  const auto percent = [&](double value) { return format_number(value); };
  Table table{"summary", "Massive activations and quality", {}, {}};
  table.columns = {
      {"run", "Run", "variant, and the run's directory", false},
      {"run_directory", "", "the run's directory", false},
      {"mitigated", "Mitigated?",
       fmt::format("no layer's mean max|h| exceeds {} and {} times its mean median|h|",
                   percent(study.thresholds.absolute), percent(study.thresholds.ratio)),
       false},
      {"massive_layers", "", "layers that pass both tests, separated by semicolons", false},
      {"max", "Max |h|", "largest layer mean of max|h| over the calibration sequences with BOS"},
      {"max_layer", "", "its layer, from 0"},
      {"median", "Median |h|", "largest layer mean of median|h|, as the published table has it"},
      {"median_layer", "", "its layer, from 0"},
      {"ratio", "Max / median", "largest max/median of one layer"},
      {"ratio_layer", "", "its layer, from 0"},
      {"max_no_bos", "Max, no BOS", "the same without a leading BOS"},
      {"max_no_bos_layer", "", "its layer, from 0"},
      {"ratio_no_bos", "Ratio, no BOS", "the same without a leading BOS"},
      {"ratio_no_bos_layer", "", "its layer, from 0"},
      {"mitigated_no_bos", "", "the verdict without a leading BOS", false},
      {"perplexity", "Held-out ppl", "exp(mean loss) on the held-out split, at equal training tokens"},
      {"held_out_loss", "", "nats a token"},
      {"train_loss", "Train loss", "mean of the last 5 % of the steps up to equal training tokens, nats a token"},
      {"compared_at_tokens", "", "training tokens that every run has seen"},
      {"tokens_seen", "Tokens", "training tokens seen by the end of the run"},
      {"tokens_per_second", "Tokens/s", "median over the steps"},
  };
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = study.main(run);
    const SetMeasures* without = set_without_bos(study.sets[run]);
    const auto base_set = [&](auto figure) {
      return base_of(study, run,
                     [&](std::size_t base) { return study.main(base) ? figure(*study.main(base)) : kUnknown; });
    };
    Row row = {run_cell(study, run, true), text_cell(study.runs[run].directory.string())};
    row.push_back(verdict_cell(study, run, m));
    row.push_back(m ? text_cell(fmt::format("{}", fmt::join(m->massive_layers, ";"))) : missing());
    if (m) {
      row.push_back(figure_cell(m->max().max, layer_note(m->max_layer),
                                base_set([](const SetMeasures& b) { return b.max().max; })));
      row.push_back(count_cell(static_cast<std::int64_t>(m->max_layer)));
      row.push_back(figure_cell(m->median().median, layer_note(m->median_layer), kUnknown));
      row.push_back(count_cell(static_cast<std::int64_t>(m->median_layer)));
      row.push_back(figure_cell(m->ratio().ratio(), layer_note(m->ratio_layer),
                                base_set([](const SetMeasures& b) { return b.ratio().ratio(); })));
      row.push_back(count_cell(static_cast<std::int64_t>(m->ratio_layer)));
    } else {
      row.insert(row.end(), 6, missing());
    }
    if (without) {
      row.push_back(figure_cell(without->max().max, layer_note(without->max_layer), kUnknown));
      row.push_back(count_cell(static_cast<std::int64_t>(without->max_layer)));
      row.push_back(figure_cell(without->ratio().ratio(), layer_note(without->ratio_layer), kUnknown));
      row.push_back(count_cell(static_cast<std::int64_t>(without->ratio_layer)));
      row.push_back(Cell::of(without->massive_layers.empty(), ""));
    } else {
      row.insert(row.end(), 5, missing());
    }
    const Quality q = quality_of(study, run);
    row.push_back(figure_cell(q.perplexity, "",
                              base_of(study, run, [&](std::size_t b) { return quality_of(study, b).perplexity; })));
    row.push_back(number_cell(q.held_out_loss, 4));
    Cell loss = number_cell(q.loss, 4);
    loss.note = format_change(q.loss, base_of(study, run, [&](std::size_t b) { return quality_of(study, b).loss; }));
    row.push_back(loss);
    row.push_back(number_cell(study.equal_tokens));
    row.push_back(Cell::of(study.runs[run].tokens_seen(), format_amount(study.runs[run].tokens_seen())));
    row.push_back(
        figure_cell(q.speed, "", base_of(study, run, [&](std::size_t b) { return quality_of(study, b).speed; })));
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table scale_free_table(const Study& study) {
  Table table{"scale_free", "Scale-free measures, attention sinks and low precision", {}, {}};
  const std::string sink =
      fmt::format("share of (layer, head, sequence) whose mean attention to it exceeds {}, first {} tokens",
                  study.thresholds.sink, study.thresholds.sink_tokens);
  table.columns = {
      {"run", "Run", "variant, and the run's directory", false},
      {"crest", "Crest factor", "largest layer mean of max|h| / rms(h)"},
      {"crest_layer", "", "its layer, from 0"},
      {"kurtosis", "Kurtosis", "largest layer mean of the kurtosis over channels; 1: flat, hidden size: one channel"},
      {"kurtosis_layer", "", "its layer, from 0"},
      {"mmr", "MMR", "largest layer mean of max|h_t| / median|h_t| over the tokens"},
      {"mmr_layer", "", "its layer, from 0"},
      {"sink_first", "Sink: key 0", sink},
      {"sink_other", "Sink: other key", sink + "; the largest over keys 1 to half of the tokens"},
      {"sink_other_key", "", "that key"},
      {"sink_bias", "Sink: bias slot", sink + "; only with a KV bias"},
      {"beyond_e4m3", "Beyond E4M3", "share of |h| above 448, largest layer mean, without scaling"},
      {"beyond_e5m2", "Beyond E5M2", "share of |h| above 57,344, largest layer mean"},
      {"beyond_f16", "Beyond F16", "share of |h| above 65,504, largest layer mean"},
      {"lost_int8", "Lost in INT8",
       "share of |h| that rounds to 0 when max|h| is scaled to 127, largest layer mean; from the histograms"},
      {"lost_e4m3", "Lost in E4M3",
       "share of |h| that rounds to 0 when max|h| is scaled to 448, largest layer mean; from the histograms"},
  };
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    Row row = {run_cell(study, run, false)};
    const SetMeasures* m = study.main(run);
    if (!m) {
      row.insert(row.end(), table.columns.size() - 1, missing());
      table.rows.push_back(std::move(row));
      continue;
    }
    const auto layer_figure = [&](std::size_t SetMeasures::*layer, double LayerMeasure::*figure) {
      const double base = base_of(study, run, [&](std::size_t b) {
        const SetMeasures* other = study.main(b);
        return other ? other->layers[other->*layer].*figure : kUnknown;
      });
      row.push_back(figure_cell(m->layers[m->*layer].*figure, layer_note(m->*layer), base));
      row.push_back(count_cell(static_cast<std::int64_t>(m->*layer)));
    };
    const auto share = [&](double value, std::string note = {}) {
      row.push_back(Cell::of(std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr),
                             format_share(value), std::move(note)));
    };
    const auto largest_share = [&](double LayerMeasure::*figure) {
      std::size_t layer = 0;
      for (std::size_t i = 1; i < m->layers.size(); ++i)
        layer = m->layers[i].*figure > m->layers[layer].*figure ? i : layer;
      share(m->layers[layer].*figure, m->layers[layer].*figure > 0.0 ? layer_note(layer) : "");
    };
    layer_figure(&SetMeasures::crest_layer, &LayerMeasure::crest);
    layer_figure(&SetMeasures::kurtosis_layer, &LayerMeasure::kurtosis);
    layer_figure(&SetMeasures::mmr_layer, &LayerMeasure::mmr_mean);
    share(m->sinks.first);
    share(m->sinks.other, m->sinks.other > 0.0 ? fmt::format("key {}", m->sinks.other_key) : "");
    row.push_back(m->sinks.other_key >= 0 ? count_cell(m->sinks.other_key) : missing());
    share(m->sinks.bias);
    largest_share(&LayerMeasure::beyond_e4m3);
    largest_share(&LayerMeasure::beyond_e5m2);
    largest_share(&LayerMeasure::beyond_f16);
    largest_share(&LayerMeasure::lost_int8);
    largest_share(&LayerMeasure::lost_e4m3);
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace headroom::report
