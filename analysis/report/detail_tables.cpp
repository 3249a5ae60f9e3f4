// The tables that are written to files only: everything the figures and findings are drawn from.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/study.h"

namespace headroom::report {
namespace {

Column plain(std::string key, std::string help) {
  return {std::move(key), "", std::move(help), true};
}

Table layers_table(const Study& study) {
  Table table{"layers", "Block outputs by layer, averaged over each probe set's sequences", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("set", "sequences averaged over"),
                   plain("sequences", "how many"),
                   plain("tokens", "of all of them"),
                   plain("layer", "from 0"),
                   plain("massive", "passes both tests"),
                   plain("max", "max|h|"),
                   plain("median", "median|h|"),
                   plain("ratio", "max / median"),
                   plain("top2", "second largest |h|"),
                   plain("top3", "third largest |h|"),
                   plain("rms", "rms(h)"),
                   plain("crest", "max / rms"),
                   plain("kurtosis", "over channels"),
                   plain("mmr_mean", "mean over tokens of max|h_t| / median|h_t|"),
                   plain("mmr_max", "largest over tokens"),
                   plain("beyond_e4m3", "share of |h| above 448"),
                   plain("beyond_e5m2", "share above 57344"),
                   plain("beyond_f16", "share above 65504"),
                   plain("lost_int8", "share rounding to 0, max scaled to 127"),
                   plain("lost_e4m3", "share rounding to 0, max scaled to 448")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets[run]) {
      for (std::size_t layer = 0; layer < m.layers.size(); ++layer) {
        const LayerMeasure& l = m.layers[layer];
        std::vector<Cell> row = {text_cell(study.runs[run].label),
                                 text_cell(m.set.name),
                                 count_cell(static_cast<std::int64_t>(m.set.sequences.size())),
                                 count_cell(m.set.tokens),
                                 count_cell(static_cast<std::int64_t>(layer)),
                                 Cell::of(l.massive, "")};
        for (const double value :
             {l.max, l.median, l.ratio(), l.top[1], l.top[2], l.rms, l.crest, l.kurtosis, l.mmr_mean, l.mmr_max,
              l.beyond_e4m3, l.beyond_e5m2, l.beyond_f16, l.lost_int8, l.lost_e4m3}) {
          row.push_back(number_cell(value));
        }
        table.rows.push_back(std::move(row));
      }
    }
  }
  return table;
}

Table sites_table(const Study& study) {
  Table table{"sites", "Every site by layer, averaged over the main probe set", {}, {}};
  table.columns = {plain("run", "run"),    plain("set", "sequences averaged over"),
                   plain("site", "site"),  plain("layer", "from 0"),
                   plain("max", "max|h|"), plain("median", "median|h|"),
                   plain("rms", "rms(h)"), plain("kurtosis", "over channels")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = study.main(run);
    if (!m) continue;
    for (const auto& [name, site] : study.runs[run].snapshot()->sites) {
      for (std::int64_t layer = 0; layer < site.layers; ++layer) {
        std::vector<Cell> row = {text_cell(study.runs[run].label), text_cell(m->set.name),
                                 text_cell(std::string(name_of(name))), count_cell(layer)};
        for (const auto* values : {&site.max_abs, &site.median_abs, &site.rms, &site.kurtosis}) {
          double sum = 0.0;
          for (const std::int64_t s : m->set.sequences) sum += values->at(site.at(layer, s));
          row.push_back(number_cell(sum / static_cast<double>(m->set.sequences.size())));
        }
        table.rows.push_back(std::move(row));
      }
    }
  }
  return table;
}

Table activations_table(const Study& study) {
  Table table{"top_activations", "The largest activations of each layer and sequence of the last snapshot", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("step", "of the snapshot"),
                   plain("set", "the sequence's probe set"),
                   plain("sequence", "index"),
                   plain("layer", "from 0"),
                   plain("rank", "from 1"),
                   plain("position", "token position"),
                   plain("piece", "token"),
                   plain("channel", "from 0"),
                   plain("value", "signed"),
                   plain("ratio", "|value| / the layer's median|h| in this sequence"),
                   plain("massive", "|value| passes both tests, strictly")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets[run]) {
      const SnapshotFile& snapshot = *study.runs[run].snapshot();
      const SiteStatistics& site = snapshot.sites.at(Site::block_output);
      for (const std::int64_t s : m.set.sequences) {
        for (std::int64_t layer = 0; layer < site.layers; ++layer) {
          const auto values = site.row(site.top_values, layer, s);
          const double median = site.median_abs.at(site.at(layer, s));
          for (std::size_t k = 0; k < values.size(); ++k) {
            const std::int64_t token = site.row(site.top_token, layer, s)[k];
            if (token < 0) continue;
            const double size = std::abs(values[k]);
            table.rows.push_back(
                {text_cell(study.runs[run].label), count_cell(snapshot.provenance.step), text_cell(m.set.name),
                 count_cell(s), count_cell(layer), count_cell(static_cast<std::int64_t>(k) + 1), count_cell(token),
                 text_cell(piece_at(snapshot, s, token)), count_cell(site.row(site.top_channel, layer, s)[k]),
                 number_cell(values[k]), number_cell(median > 0.0 ? size / median : kUnknown),
                 Cell::of(size > study.thresholds.absolute && size > study.thresholds.ratio * median, "")});
          }
        }
      }
    }
  }
  return table;
}

Table channels_table(const Study& study) {
  Table table{"channels", "Channels that recur among the largest activations, by layer", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("set", "probe set"),
                   plain("sequences", "of the set"),
                   plain("layer", "from 0"),
                   plain("channel", "from 0"),
                   plain("sequences_as_largest", "sequences whose largest |h| it holds"),
                   plain("sequences_in_top", "sequences with it among the kept largest"),
                   plain("largest", "|h|")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets[run]) {
      if (m.set.sentence) continue;
      for (std::size_t layer = 0; layer < m.layers.size(); ++layer) {
        for (const ChannelMeasure& c : channels(*study.runs[run].snapshot(), m.set, static_cast<std::int64_t>(layer))) {
          table.rows.push_back({text_cell(study.runs[run].label), text_cell(m.set.name),
                                count_cell(static_cast<std::int64_t>(m.set.sequences.size())),
                                count_cell(static_cast<std::int64_t>(layer)), count_cell(c.channel),
                                count_cell(c.sequences_as_largest), count_cell(c.sequences_in_top),
                                number_cell(c.largest)});
        }
      }
    }
  }
  return table;
}

Table attention_table(const Study& study) {
  Table table{"attention", "Attention mass by key class, averaged over each probe set's sequences", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("set", "probe set"),
                   plain("layer", "from 0"),
                   plain("head", "from 0"),
                   plain("mass_first", "mean attention of queries i >= 1 to key 0"),
                   plain("mass_bias", "to the bias slot"),
                   plain("mass_rest", "to all other keys")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets[run]) {
      const AttentionStatistics& attention = study.runs[run].snapshot()->attention;
      for (std::int64_t layer = 0; layer < study.runs[run].snapshot()->dims.layers; ++layer) {
        for (std::int64_t head = 0; head < attention.heads; ++head) {
          std::vector<Cell> row = {text_cell(study.runs[run].label), text_cell(m.set.name), count_cell(layer),
                                   count_cell(head)};
          for (const auto* values : {&attention.mass_first, &attention.mass_bias, &attention.mass_rest}) {
            double sum = 0.0;
            for (const std::int64_t s : m.set.sequences) sum += values->at(attention.at(layer, s, head));
            row.push_back(number_cell(sum / static_cast<double>(m.set.sequences.size())));
          }
          table.rows.push_back(std::move(row));
        }
      }
    }
  }
  return table;
}

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
      const WeightStatistics& w = point.contents.weights;
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

}  // namespace

std::vector<Table> detail_tables(const Study& study) {
  return {layers_table(study),    sites_table(study),   activations_table(study), channels_table(study),
          attention_table(study), weights_table(study), evaluations_table(study)};
}

}  // namespace headroom::report
