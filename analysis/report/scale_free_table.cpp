// Scale-free companions of the verdict, attention sinks, and what low precision would lose.
#include <fmt/format.h>

#include <algorithm>

#include "analysis/attention_probe.h"
#include "analysis/report/format.h"
#include "analysis/report/table_parts.h"

namespace headroom::report {
namespace {

// What the sink rates are over, from the sequences that were rated.
std::string sink_words(const Study& study) {
  std::vector<std::string> spans;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = study.main(run);
    if (!m) continue;
    std::string span =
        m->sinks.tokens < kSinkTokens
            ? fmt::format("all of at most {} tokens, too few for the published {}", m->sinks.tokens, kSinkTokens)
            : fmt::format("the first {} tokens", kSinkTokens);
    if (std::find(spans.begin(), spans.end(), span) == spans.end()) spans.push_back(std::move(span));
  }
  return fmt::format("share of (layer, head, sequence) whose mean attention to it exceeds {:g}, over {}",
                     study.thresholds.sink, fmt::join(spans, " / "));
}

std::vector<Column> columns_of(const Study& study) {
  const std::string sink = sink_words(study);
  const std::string over = ": " + main_words(study);
  return {
      {"run", "Run", "variant, and the run's directory", false},
      {"crest", "Crest factor", "largest layer mean of max|h| / rms(h)" + over},
      {"crest_layer", "", "its layer, from 0"},
      {"kurtosis", "Kurtosis",
       "largest layer mean of the kurtosis over channels; 1: flat, hidden size: one channel" + over},
      {"kurtosis_layer", "", "its layer, from 0"},
      {"mmr", "MMR", "largest layer mean of max|h_t| / median|h_t| over the tokens" + over},
      {"mmr_layer", "", "its layer, from 0"},
      {"sink_first", "Sink: key 0", sink + over},
      {"sink_other", "Sink: other key", sink + "; the largest over keys 1 to half of them" + over},
      {"sink_other_key", "", "that key"},
      {"sink_bias", "Sink: bias slot", sink + "; only with a KV bias" + over},
      {"sink_sequences", "", "sequences rated"},
      {"sink_tokens", "", "first tokens of each that were looked at"},
      {"beyond_e4m3", "Beyond E4M3", "share of |h| above 448, largest layer mean, without scaling" + over},
      {"beyond_e5m2", "Beyond E5M2", "share of |h| above 57,344, largest layer mean" + over},
      {"beyond_f16", "Beyond F16", "share of |h| above 65,504, largest layer mean" + over},
      {"lost_int8", "Lost in INT8",
       "share of |h| that rounds to 0 when max|h| is scaled to 127, largest layer mean; from the histograms" + over},
      {"lost_e4m3", "Lost in E4M3",
       "share of |h| that rounds to 0 when max|h| is scaled to 448, largest layer mean; from the histograms" + over},
  };
}

}  // namespace

Table scale_free_table(const Study& study) {
  Table table{"scale_free", "Scale-free measures, attention sinks and low precision", columns_of(study), {}};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    Row row = {run_cell(study, run, false)};
    const SetMeasures* m = study.main(run);
    if (!m) {
      row.insert(row.end(), table.columns.size() - 1, missing());
      table.rows.push_back(std::move(row));
      continue;
    }
    const auto layer_figure = [&](std::size_t SetMeasures::*layer, double LayerMeasure::*figure) {
      const double base = base_figure(study, run, [&](const SetMeasures& b) { return b.layers[b.*layer].*figure; });
      row.push_back(figure_cell(m->layers[m->*layer].*figure, layer_note(m->*layer), base));
      row.push_back(count_cell(static_cast<std::int64_t>(m->*layer)));
    };
    const auto largest_share = [&](auto figure) {
      std::vector<double> shares;
      for (const LayerMeasure& layer : m->layers) shares.push_back(figure(layer));
      const std::size_t layer = largest_of(shares);
      row.push_back(share_cell(shares[layer], shares[layer] == 0.0 ? "" : layer_note(layer)));
    };
    layer_figure(&SetMeasures::crest_layer, &LayerMeasure::crest);
    layer_figure(&SetMeasures::kurtosis_layer, &LayerMeasure::kurtosis);
    layer_figure(&SetMeasures::mmr_layer, &LayerMeasure::mmr_mean);
    row.push_back(share_cell(m->sinks.first));
    row.push_back(share_cell(m->sinks.other, m->sinks.other > 0.0 ? fmt::format("key {}", m->sinks.other_key) : ""));
    row.push_back(m->sinks.other_key >= 0 ? count_cell(m->sinks.other_key) : missing());
    row.push_back(share_cell(m->sinks.bias));
    row.push_back(count_cell(m->sinks.sequences));
    row.push_back(count_cell(m->sinks.tokens));
    largest_share([](const LayerMeasure& l) { return l.beyond_e4m3; });
    largest_share([](const LayerMeasure& l) { return l.beyond_e5m2; });
    largest_share([](const LayerMeasure& l) { return l.beyond_f16; });
    largest_share([](const LayerMeasure& l) { return l.lost.int8; });
    largest_share([](const LayerMeasure& l) { return l.lost.e4m3; });
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace headroom::report
