// The tables of the last snapshots that are written to files only: what their figures and findings are drawn from.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/places.h"
#include "analysis/report/table_parts.h"

namespace headroom::report {
namespace {

Cell massive_cell(Verdict verdict) {
  return Cell::of(verdict == Verdict::unknown ? nlohmann::json(nullptr) : nlohmann::json(verdict == Verdict::massive),
                  "");
}

Table layers_table(const Study& study) {
  Table table{"layers", "Block outputs by layer, averaged over each probe set's sequences", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("set", "sequences averaged over"),
                   plain("sequences", "how many"),
                   plain("tokens", "of all of them"),
                   plain("layer", "from 0"),
                   plain("massive", "passes both tests; empty: max or median is not finite"),
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
    for (const SetMeasures& m : study.sets(run)) {
      for (std::size_t layer = 0; layer < m.layers.size(); ++layer) {
        const LayerMeasure& l = m.layers[layer];
        std::vector<Cell> row = {text_cell(study.runs[run].label),
                                 text_cell(m.set.name),
                                 count_cell(static_cast<std::int64_t>(m.set.sequences.size())),
                                 count_cell(m.set.tokens),
                                 count_cell(static_cast<std::int64_t>(layer)),
                                 massive_cell(l.verdict)};
        for (const double value :
             {l.max, l.median, l.ratio(), l.top[1], l.top[2], l.rms, l.crest, l.kurtosis, l.mmr_mean, l.mmr_max,
              l.beyond_e4m3, l.beyond_e5m2, l.beyond_f16, l.lost.int8, l.lost.e4m3}) {
          row.push_back(number_cell(value));
        }
        table.rows.push_back(std::move(row));
      }
    }
  }
  return table;
}

Table sites_table(const Study& study) {
  Table table{"sites", "Every site by layer, averaged over each probe set's sequences", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("set", "sequences averaged over"),
                   plain("site", "site"),
                   plain("layer", "from 0"),
                   plain("max", "max|h|"),
                   plain("median", "median|h|"),
                   plain("rms", "rms(h)"),
                   plain("kurtosis", "over channels"),
                   plain("largest", "largest |h| over the sequences"),
                   plain("lost_int8", "share rounding to 0, max scaled to 127"),
                   plain("lost_e4m3", "share rounding to 0, max scaled to 448")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets(run)) {
      for (const auto& [name, site] : study.runs[run].snapshot()->sites) {
        for (std::int64_t layer = 0; layer < site.layers; ++layer) {
          std::vector<Cell> row = {text_cell(study.runs[run].label), text_cell(m.set.name),
                                   text_cell(std::string(name_of(name))), count_cell(layer)};
          for (const auto* values : {&site.max_abs, &site.median_abs, &site.rms, &site.kurtosis}) {
            row.push_back(number_cell(set_mean(*values, site, layer, m.set)));
          }
          std::vector<double> largest;
          for (const std::int64_t s : m.set.sequences) largest.push_back(site.max_abs.at(site.at(layer, s)));
          row.push_back(number_cell(largest[largest_of(largest)]));
          const LostShares lost = lost_shares(site, layer, m.set);
          row.push_back(number_cell(lost.int8));
          row.push_back(number_cell(lost.e4m3));
          table.rows.push_back(std::move(row));
        }
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
    for (const SetMeasures& m : study.sets(run)) {
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
                 Cell::of(is_massive(values[k], median, study.thresholds), "")});
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
    for (const SetMeasures& m : study.sets(run)) {
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
    for (const SetMeasures& m : study.sets(run)) {
      const AttentionStatistics& attention = study.runs[run].snapshot()->attention;
      for (std::int64_t layer = 0; layer < study.runs[run].snapshot()->dims.layers; ++layer) {
        for (std::int64_t head = 0; head < attention.heads; ++head) {
          std::vector<Cell> row = {text_cell(study.runs[run].label), text_cell(m.set.name), count_cell(layer),
                                   count_cell(head)};
          for (const auto* values : {&attention.mass_first, &attention.mass_bias, &attention.mass_rest}) {
            row.push_back(number_cell(set_mean(*values, attention, layer, head, m.set)));
          }
          table.rows.push_back(std::move(row));
        }
      }
    }
  }
  return table;
}

Table histograms_table(const Study& study) {
  Table table{"histograms", "Block outputs: values by magnitude", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("set", "probe set"),
                   plain("layer", "from 0"),
                   plain("from", "lower edge of the bin"),
                   plain("to", "upper edge"),
                   plain("count", "values of the set's sequences"),
                   plain("share", "of all values of the layer")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets(run)) {
      const SiteStatistics& site = study.runs[run].snapshot()->sites.at(Site::block_output);
      for (std::int64_t layer = 0; layer < site.layers; ++layer) {
        std::vector<std::int64_t> counts(site.edges.size() - 1, 0);
        std::int64_t total = 0;
        for (const std::int64_t s : m.set.sequences) {
          const auto row = site.row(site.histogram, layer, s);
          for (std::size_t bin = 0; bin < row.size(); ++bin) {
            counts[bin] += row[bin];
            total += row[bin];
          }
        }
        for (std::size_t bin = 0; bin < counts.size(); ++bin) {
          if (counts[bin] == 0) continue;
          table.rows.push_back({text_cell(study.runs[run].label), text_cell(m.set.name), count_cell(layer),
                                number_cell(site.edges[bin]), number_cell(site.edges[bin + 1]), count_cell(counts[bin]),
                                number_cell(static_cast<double>(counts[bin]) / static_cast<double>(total))});
        }
      }
    }
  }
  return table;
}

Table tokens_table(const Study& study) {
  Table table{"tokens", "Block outputs of the probe sentences by token", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("set", "the sentence"),
                   plain("layer", "from 0"),
                   plain("position", "token position"),
                   plain("piece", "token"),
                   plain("max", "max|h| over the token's channels"),
                   plain("median", "median|h| over them"),
                   plain("rms", "rms(h) over them"),
                   plain("ratio", "max / median"),
                   plain("crest", "max / rms")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets(run)) {
      if (!m.set.sentence) continue;
      const SnapshotFile& snapshot = *study.runs[run].snapshot();
      const SiteStatistics& site = snapshot.sites.at(Site::block_output);
      const std::int64_t s = m.set.sequences.front();
      for (std::int64_t layer = 0; layer < site.layers; ++layer) {
        for (std::int64_t t = 0; t < snapshot.probe.length_of(s); ++t) {
          const auto at = static_cast<std::size_t>(t);
          const double max = site.row(site.token_max, layer, s)[at];
          const double median = site.row(site.token_median, layer, s)[at];
          const double rms = site.row(site.token_rms, layer, s)[at];
          table.rows.push_back({text_cell(study.runs[run].label), text_cell(m.set.name), count_cell(layer),
                                count_cell(t), text_cell(piece_at(snapshot, s, t)), number_cell(max),
                                number_cell(median), number_cell(rms), number_cell(max / median),
                                number_cell(max / rms)});
        }
      }
    }
  }
  return table;
}

Table writers_table(const Study& study) {
  Table table{"writers", "What each site adds at the place of the run's largest activation", {}, {}};
  table.columns = {plain("run", "run"),
                   plain("sequence", "index"),
                   plain("position", "token position"),
                   plain("channel", "from 0"),
                   plain("site", "embedding, attention or MLP output"),
                   plain("layer", "from 0"),
                   plain("value", "signed; where it was not kept the channel's largest |value| over all tokens"),
                   plain("exact", "whether it was kept"),
                   plain("channel_max", "the channel's largest |value| over all tokens of the sequence"),
                   plain("stream_max", "the same of the residual stream after the block")};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = study.main(run);
    if (!m || m->peak.layer < 0) continue;
    const SnapshotFile& snapshot = *study.runs[run].snapshot();
    const SiteStatistics& stream = snapshot.sites.at(Site::block_output);
    const auto channel = static_cast<std::size_t>(m->peak.channel);
    Place last = m->peak;
    last.layer = stream.layers - 1;  // the sites of all layers, not of those up to the peak alone
    for (const Writer& w : writers(snapshot, last)) {
      const SiteStatistics& site = snapshot.sites.at(w.site);
      table.rows.push_back({text_cell(study.runs[run].label), count_cell(m->peak.sequence), count_cell(m->peak.token),
                            count_cell(m->peak.channel), text_cell(std::string(name_of(w.site))), count_cell(w.layer),
                            number_cell(w.value), Cell::of(w.exact, ""),
                            number_cell(site.row(site.channel_max, w.layer, m->peak.sequence)[channel]),
                            number_cell(stream.row(stream.channel_max, w.layer, m->peak.sequence)[channel])});
    }
  }
  return table;
}

}  // namespace

std::vector<Table> detail_tables(const Study& study) {
  return {layers_table(study),    sites_table(study),      activations_table(study), channels_table(study),
          attention_table(study), histograms_table(study), tokens_table(study),      writers_table(study)};
}

}  // namespace headroom::report
