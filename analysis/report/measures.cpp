#include "analysis/report/measures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace headroom::report {
namespace {

constexpr double kInt8Levels = 127.0;  // symmetric: values below half a level become 0
constexpr double kE4m3Largest = 448.0;
constexpr double kE4m3Smallest = 0x1p-9;  // smallest subnormal; below half of it a value becomes 0

double mean_over(const std::vector<float>& values, const SiteStatistics& site, std::int64_t layer,
                 const ProbeSet& set) {
  double sum = 0.0;
  for (const std::int64_t sequence : set.sequences) sum += values.at(site.at(layer, sequence));
  return sum / static_cast<double>(set.sequences.size());
}

LayerMeasure measure_layer(const SiteStatistics& site, std::int64_t layer, const ProbeSet& set,
                           const Thresholds& thresholds) {
  LayerMeasure m;
  const auto mean = [&](const std::vector<float>& values) { return mean_over(values, site, layer, set); };
  m.max = mean(site.max_abs);
  m.median = mean(site.median_abs);
  m.rms = mean(site.rms);
  m.kurtosis = mean(site.kurtosis);
  m.mmr_mean = mean(site.mmr_mean);
  m.mmr_max = mean(site.mmr_max);
  m.beyond_e4m3 = mean(site.beyond_e4m3);
  m.beyond_e5m2 = mean(site.beyond_e5m2);
  m.beyond_f16 = mean(site.beyond_f16);
  const auto count = static_cast<double>(set.sequences.size());
  for (const std::int64_t sequence : set.sequences) {
    const double largest = site.max_abs.at(site.at(layer, sequence));
    const double rms = site.rms.at(site.at(layer, sequence));
    if (rms > 0.0) m.crest += largest / rms / count;
    const auto tops = site.row(site.top_values, layer, sequence);
    for (std::size_t i = 0; i < 3 && i < tops.size(); ++i) m.top[i] += std::abs(tops[i]) / count;
    const auto bins = site.row(site.histogram, layer, sequence);
    m.lost_int8 += share_below(bins, site.edges, 0.5 * largest / kInt8Levels) / count;
    m.lost_e4m3 += share_below(bins, site.edges, 0.5 * kE4m3Smallest * largest / kE4m3Largest) / count;
  }
  m.massive = m.max > thresholds.absolute && m.max >= thresholds.ratio * m.median;
  return m;
}

SinkRates sink_rates(const SnapshotFile& snapshot, const ProbeSet& set, const Thresholds& thresholds, bool kv_bias) {
  const AttentionStatistics& attention = snapshot.attention;
  SinkRates rates;
  if (attention.key_mass.empty()) return rates;
  const std::int64_t stride = snapshot.dims.tokens;
  std::vector<double> above(static_cast<std::size_t>(std::min(stride, thresholds.sink_tokens) / 2 + 1), 0.0);
  std::vector<double> total(above.size(), 0.0);
  double bias = 0.0;
  double cases = 0.0;
  for (std::int64_t layer = 0; layer < snapshot.dims.layers; ++layer) {
    for (const std::int64_t sequence : set.sequences) {
      const std::int64_t n =
          std::min<std::int64_t>(snapshot.probe.lengths.at(static_cast<std::size_t>(sequence)), thresholds.sink_tokens);
      for (std::int64_t head = 0; head < attention.heads; ++head) {
        const std::size_t row = attention.at(layer, sequence, head);
        for (std::int64_t key = 0; key <= n / 2 && key < n; ++key) {
          const double mass =
              attention.key_mass.at(row * static_cast<std::size_t>(stride) + static_cast<std::size_t>(key));
          total[static_cast<std::size_t>(key)] += 1.0;
          if (mass > thresholds.sink) above[static_cast<std::size_t>(key)] += 1.0;
        }
        cases += 1.0;
        if (attention.bias_mass.at(row) > thresholds.sink) bias += 1.0;
      }
    }
  }
  if (cases == 0.0) return rates;
  rates.first = above[0] / total[0];
  for (std::size_t key = 1; key < above.size(); ++key) {
    if (total[key] == 0.0) continue;
    const double rate = above[key] / total[key];
    if (std::isnan(rates.other) || rate > rates.other) {
      rates.other = rate;
      rates.other_key = static_cast<std::int64_t>(key);
    }
  }
  if (kv_bias) rates.bias = bias / cases;
  return rates;
}

Place peak_of(const SiteStatistics& site, const ProbeSet& set) {
  Place peak;
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    for (const std::int64_t sequence : set.sequences) {
      const auto values = site.row(site.top_values, layer, sequence);
      if (values.empty() || !(std::abs(values[0]) > std::abs(peak.value))) continue;
      peak = {layer, sequence, site.row(site.top_token, layer, sequence)[0],
              site.row(site.top_channel, layer, sequence)[0], values[0]};
    }
  }
  return peak;
}

// Index of the layer whose figure is largest; unknown figures count as smallest.
template <class Figure>
std::size_t largest(const std::vector<LayerMeasure>& layers, Figure figure) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < layers.size(); ++i) {
    const double value = figure(layers[i]);
    if (std::isfinite(value) && !(value <= figure(layers[best]))) best = i;
  }
  return best;
}

std::int64_t length_of(const SnapshotFile& snapshot, std::int64_t sequence) {
  return snapshot.probe.lengths.at(static_cast<std::size_t>(sequence));
}

}  // namespace

std::vector<ProbeSet> probe_sets(const SnapshotFile& snapshot) {
  ProbeSet calibration[2];
  std::vector<ProbeSet> sentences;
  for (std::int64_t s = 0; s < snapshot.dims.sequences; ++s) {
    const bool bos = snapshot.probe.bos.at(static_cast<std::size_t>(s)) != 0;
    if (snapshot.probe.kind.at(static_cast<std::size_t>(s)) == "sentence") {
      const std::string text = snapshot.probe.text.at(static_cast<std::size_t>(s));
      sentences.push_back(
          {fmt::format("sentence {}, {}", s, bos ? "BOS" : "no BOS"), bos, true, {s}, length_of(snapshot, s)});
    } else {
      ProbeSet& set = calibration[bos ? 0 : 1];
      set.bos = bos;
      set.sequences.push_back(s);
      set.tokens += length_of(snapshot, s);
    }
  }
  calibration[0].name = "calibration, BOS";
  calibration[1].name = "calibration, no BOS";
  std::vector<ProbeSet> sets;
  for (ProbeSet& set : calibration) {
    if (!set.sequences.empty()) sets.push_back(std::move(set));
  }
  for (ProbeSet& set : sentences) sets.push_back(std::move(set));
  return sets;
}

SetMeasures measure(const SnapshotFile& snapshot, const ProbeSet& set, const Thresholds& thresholds, bool kv_bias) {
  const SiteStatistics& site = snapshot.sites.at(Site::block_output);
  SetMeasures m;
  m.set = set;
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    m.layers.push_back(measure_layer(site, layer, set, thresholds));
    if (m.layers.back().massive) m.massive_layers.push_back(layer);
  }
  m.max_layer = largest(m.layers, [](const LayerMeasure& l) { return l.max; });
  m.median_layer = largest(m.layers, [](const LayerMeasure& l) { return l.median; });
  m.ratio_layer = largest(m.layers, [](const LayerMeasure& l) { return l.ratio(); });
  m.crest_layer = largest(m.layers, [](const LayerMeasure& l) { return l.crest; });
  m.kurtosis_layer = largest(m.layers, [](const LayerMeasure& l) { return l.kurtosis; });
  m.mmr_layer = largest(m.layers, [](const LayerMeasure& l) { return l.mmr_mean; });
  m.sinks = sink_rates(snapshot, set, thresholds, kv_bias);
  m.peak = peak_of(site, set);
  return m;
}

const SetMeasures* main_set(const std::vector<SetMeasures>& sets) {
  return sets.empty() ? nullptr : &sets.front();
}

const SetMeasures* set_without_bos(const std::vector<SetMeasures>& sets) {
  for (const SetMeasures& m : sets) {
    if (!m.set.bos && !m.set.sentence) return &m;
  }
  return nullptr;
}

std::vector<ChannelMeasure> channels(const SnapshotFile& snapshot, const ProbeSet& set, std::int64_t layer) {
  const SiteStatistics& site = snapshot.sites.at(Site::block_output);
  std::map<std::int64_t, ChannelMeasure> found;
  for (const std::int64_t sequence : set.sequences) {
    const auto values = site.row(site.top_values, layer, sequence);
    const auto places = site.row(site.top_channel, layer, sequence);
    std::vector<std::int64_t> seen;
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i] < 0) continue;
      ChannelMeasure& channel = found[places[i]];
      channel.channel = places[i];
      channel.largest = std::max(channel.largest, static_cast<double>(std::abs(values[i])));
      if (i == 0) ++channel.sequences_as_largest;
      if (std::find(seen.begin(), seen.end(), places[i]) == seen.end()) {
        seen.push_back(places[i]);
        ++channel.sequences_in_top;
      }
    }
  }
  std::vector<ChannelMeasure> out;
  for (const auto& [index, channel] : found) out.push_back(channel);
  std::stable_sort(out.begin(), out.end(), [](const ChannelMeasure& a, const ChannelMeasure& b) {
    return std::tie(b.sequences_as_largest, b.sequences_in_top, b.largest) <
           std::tie(a.sequences_as_largest, a.sequences_in_top, a.largest);
  });
  return out;
}

std::vector<Writer> writers(const SnapshotFile& snapshot, const Place& place) {
  std::vector<Writer> out;
  const auto add = [&](Site name, std::int64_t layer) {
    const auto found = snapshot.sites.find(name);
    if (found == snapshot.sites.end() || layer >= found->second.layers) return;
    const SiteStatistics& site = found->second;
    const auto values = site.row(site.top_values, layer, place.sequence);
    const auto tokens = site.row(site.top_token, layer, place.sequence);
    const auto places = site.row(site.top_channel, layer, place.sequence);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (tokens[i] == place.token && places[i] == place.channel) {
        out.push_back({name, layer, values[i], true});
        return;
      }
    }
    const auto limits = site.row(site.channel_max, layer, place.sequence);
    out.push_back({name, layer, limits[static_cast<std::size_t>(place.channel)], false});
  };
  add(Site::embedding_output, 0);
  for (std::int64_t layer = 0; layer <= place.layer; ++layer) {
    add(Site::attention_output, layer);
    add(Site::mlp_output, layer);
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Writer& a, const Writer& b) { return std::abs(a.value) > std::abs(b.value); });
  return out;
}

double share_below(std::span<const std::int64_t> counts, const std::vector<double>& edges, double limit) {
  HEADROOM_CHECK(counts.size() + 1 == edges.size(), "{} bins and {} edges", counts.size(), edges.size());
  double below = 0.0;
  double total = 0.0;
  for (std::size_t bin = 0; bin < counts.size(); ++bin) {
    const auto count = static_cast<double>(counts[bin]);
    total += count;
    if (edges[bin + 1] <= limit) {
      below += count;
    } else if (edges[bin] < limit) {
      const bool geometric = edges[bin] > 0.0 && std::isfinite(edges[bin + 1]);
      const double share = geometric ? std::log(limit / edges[bin]) / std::log(edges[bin + 1] / edges[bin])
                           : std::isfinite(edges[bin + 1]) ? (limit - edges[bin]) / (edges[bin + 1] - edges[bin])
                                                           : 0.0;
      below += count * share;
    }
  }
  return total > 0.0 ? below / total : 0.0;
}

std::string piece_at(const SnapshotFile& snapshot, std::int64_t sequence, std::int64_t token) {
  return snapshot.probe.pieces.at(static_cast<std::size_t>(sequence * snapshot.dims.tokens + token));
}

}  // namespace headroom::report
