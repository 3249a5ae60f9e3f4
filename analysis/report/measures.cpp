#include "analysis/report/measures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/statistics.h"
#include "base/error.h"
#include "data/utf8.h"

namespace headroom::report {
namespace {

constexpr double kInt8Levels = 127.0;     // symmetric: values below half a level become 0
constexpr double kE4m3Smallest = 0x1p-9;  // smallest subnormal; below half of it a value becomes 0
constexpr std::size_t kNameBytes = 60;    // of a sentence in a name

LayerMeasure measure_layer(const SiteStatistics& site, std::int64_t layer, const ProbeSet& set,
                           const Thresholds& thresholds) {
  LayerMeasure m;
  const auto mean = [&](const std::vector<float>& values) { return set_mean(values, site, layer, set); };
  m.max = mean(site.max_abs);
  m.median = mean(site.median_abs);
  m.rms = mean(site.rms);
  m.kurtosis = mean(site.kurtosis);
  m.mmr_mean = mean(site.mmr_mean);
  m.mmr_max = mean(site.mmr_max);
  m.beyond_e4m3 = mean(site.beyond_e4m3);
  m.beyond_e5m2 = mean(site.beyond_e5m2);
  m.beyond_f16 = mean(site.beyond_f16);
  m.lost = lost_shares(site, layer, set);
  const auto count = static_cast<double>(set.sequences.size());
  for (const std::int64_t sequence : set.sequences) {
    const double largest = site.max_abs.at(site.at(layer, sequence));
    m.crest += largest / site.rms.at(site.at(layer, sequence)) / count;  // a matrix of zeros has none: NaN
    const auto tops = site.row(site.top_values, layer, sequence);
    for (std::size_t i = 0; i < 3 && i < tops.size(); ++i) m.top[i] += std::abs(tops[i]) / count;
  }
  const bool known = std::isfinite(m.max) && std::isfinite(m.median);
  const bool massive = m.max > thresholds.absolute && m.max >= thresholds.ratio * m.median;
  m.verdict = !known ? Verdict::unknown : massive ? Verdict::massive : Verdict::clean;
  return m;
}

// A share of cases in which a mass exceeds a threshold; unknown once a mass is.
struct Share {
  double above = 0.0;
  double cases = 0.0;
  void add(double mass, double threshold) {
    above += std::isnan(mass) ? mass : mass > threshold ? 1.0 : 0.0;
    cases += 1.0;
  }
  double value() const { return cases > 0.0 ? above / cases : kUnknown; }
};

SinkRates sink_rates(const SnapshotFile& snapshot, const ProbeSet& set, const Thresholds& thresholds) {
  const AttentionStatistics& attention = snapshot.attention;
  SinkRates rates;
  std::vector<std::int64_t> rated;
  for (const std::int64_t sequence : set.sequences) {
    if (snapshot.probe.length_of(sequence) >= kSinkTokens) rated.push_back(sequence);
  }
  if (rated.empty()) rated = set.sequences;
  rates.sequences = static_cast<std::int64_t>(rated.size());
  for (const std::int64_t sequence : rated) {
    rates.tokens = std::max(rates.tokens, std::min(snapshot.probe.length_of(sequence), kSinkTokens));
  }
  const auto width = static_cast<std::size_t>(snapshot.dims.sink_keys());
  std::vector<Share> keys(static_cast<std::size_t>(rates.tokens / 2 + 1));  // later keys are seen by too few queries
  Share bias;
  for (std::int64_t layer = 0; layer < snapshot.dims.layers; ++layer) {
    for (const std::int64_t sequence : rated) {
      const std::int64_t n = std::min(snapshot.probe.length_of(sequence), kSinkTokens);
      for (std::int64_t head = 0; head < attention.heads; ++head) {
        const std::size_t row = attention.at(layer, sequence, head);
        for (std::int64_t key = 0; key <= n / 2 && key < n; ++key) {
          const auto k = static_cast<std::size_t>(key);
          keys[k].add(attention.sink_mass.at(row * width + k), thresholds.sink);
        }
        bias.add(attention.sink_bias.at(row), thresholds.sink);
      }
    }
  }
  rates.first = keys[0].value();
  std::vector<double> others;
  for (std::size_t key = 1; key < keys.size() && keys[key].cases > 0.0; ++key) others.push_back(keys[key].value());
  if (!others.empty()) {
    const std::size_t best = largest_of(others);
    rates.other = others[best];
    rates.other_key = static_cast<std::int64_t>(best) + 1;
  }
  // A slot that exists draws something of every query.
  const bool slot = std::any_of(attention.sink_bias.begin(), attention.sink_bias.end(), [](float m) { return m != 0; });
  if (slot) rates.bias = bias.value();
  return rates;
}

Place peak_of(const SiteStatistics& site, const ProbeSet& set) {
  Place peak;
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    for (const std::int64_t sequence : set.sequences) {
      const auto values = site.row(site.top_values, layer, sequence);
      if (values.empty() || (std::abs(values[0]) <= std::abs(peak.value))) continue;
      peak = {layer, sequence, site.row(site.top_token, layer, sequence)[0],
              site.row(site.top_channel, layer, sequence)[0], values[0]};
      if (!std::isfinite(peak.value)) return peak;
    }
  }
  return peak;
}

template <class Figure>
std::size_t largest_layer(const std::vector<LayerMeasure>& layers, Figure figure) {
  std::vector<double> values;
  for (const LayerMeasure& layer : layers) values.push_back(figure(layer));
  return largest_of(values);
}

ProbeSet sentence_set(const SnapshotFile& snapshot, std::int64_t sequence) {
  ProbeSet set;
  set.bos = snapshot.probe.bos.at(static_cast<std::size_t>(sequence)) != 0;
  set.sentence = true;
  set.text = snapshot.probe.text.at(static_cast<std::size_t>(sequence));
  set.sequences = {sequence};
  set.tokens = snapshot.probe.length_of(sequence);
  const std::string shown =
      set.text.size() > kNameBytes ? set.text.substr(0, utf8_boundary(set.text, kNameBytes - 3)) + "…" : set.text;
  set.key = fmt::format("sentence/{}/{}", set.bos ? "BOS" : "no BOS", set.text);
  set.name = fmt::format("“{}” {} BOS", shown, set.bos ? "with" : "without");
  return set;
}

}  // namespace

std::size_t largest_of(std::span<const double> values) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return i;
    if (values[i] > values[best]) best = i;
  }
  return best;
}

double set_mean(const std::vector<float>& values, const SiteStatistics& site, std::int64_t layer, const ProbeSet& set) {
  double sum = 0.0;
  for (const std::int64_t sequence : set.sequences) sum += values.at(site.at(layer, sequence));
  return sum / static_cast<double>(set.sequences.size());
}

double set_mean(const std::vector<float>& values, const AttentionStatistics& attention, std::int64_t layer,
                std::int64_t head, const ProbeSet& set) {
  double sum = 0.0;
  for (const std::int64_t sequence : set.sequences) sum += values.at(attention.at(layer, sequence, head));
  return sum / static_cast<double>(set.sequences.size());
}

LostShares lost_shares(const SiteStatistics& site, std::int64_t layer, const ProbeSet& set) {
  LostShares lost;
  const auto count = static_cast<double>(set.sequences.size());
  for (const std::int64_t sequence : set.sequences) {
    const double largest = site.max_abs.at(site.at(layer, sequence));
    if (!std::isfinite(largest)) return {kUnknown, kUnknown};
    const auto bins = site.row(site.histogram, layer, sequence);
    lost.int8 += share_below(bins, site.edges, 0.5 * largest / kInt8Levels) / count;
    lost.e4m3 += share_below(bins, site.edges, 0.5 * kE4m3Smallest * largest / kMaxE4m3) / count;
  }
  return lost;
}

std::vector<ProbeSet> probe_sets(const SnapshotFile& snapshot) {
  ProbeSet calibration[2];
  std::vector<ProbeSet> sentences;
  for (std::int64_t s = 0; s < snapshot.dims.sequences; ++s) {
    if (snapshot.probe.kind.at(static_cast<std::size_t>(s)) == "sentence") {
      sentences.push_back(sentence_set(snapshot, s));
      continue;
    }
    const bool bos = snapshot.probe.bos.at(static_cast<std::size_t>(s)) != 0;
    ProbeSet& set = calibration[bos ? 0 : 1];
    set.bos = bos;
    set.sequences.push_back(s);
    set.tokens += snapshot.probe.length_of(s);
  }
  calibration[0].key = calibration[0].name = "calibration, BOS";
  calibration[1].key = calibration[1].name = "calibration, no BOS";
  std::vector<ProbeSet> sets;
  for (ProbeSet& set : calibration) {
    if (!set.sequences.empty()) sets.push_back(std::move(set));
  }
  for (ProbeSet& set : sentences) sets.push_back(std::move(set));
  return sets;
}

SetMeasures measure(const SnapshotFile& snapshot, const ProbeSet& set, const Thresholds& thresholds) {
  const SiteStatistics& site = snapshot.sites.at(Site::block_output);
  SetMeasures m;
  m.set = set;
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    m.layers.push_back(measure_layer(site, layer, set, thresholds));
    if (m.layers.back().verdict == Verdict::massive) m.massive_layers.push_back(layer);
    if (m.layers.back().verdict == Verdict::unknown) m.unknown_layers.push_back(layer);
  }
  m.max_layer = largest_layer(m.layers, [](const LayerMeasure& l) { return l.max; });
  m.median_layer = largest_layer(m.layers, [](const LayerMeasure& l) { return l.median; });
  m.ratio_layer = largest_layer(m.layers, [](const LayerMeasure& l) { return l.ratio(); });
  m.crest_layer = largest_layer(m.layers, [](const LayerMeasure& l) { return l.crest; });
  m.kurtosis_layer = largest_layer(m.layers, [](const LayerMeasure& l) { return l.kurtosis; });
  m.mmr_layer = largest_layer(m.layers, [](const LayerMeasure& l) { return l.mmr_mean; });
  m.sinks = sink_rates(snapshot, set, thresholds);
  m.peak = peak_of(site, set);
  return m;
}

std::vector<SetMeasures> measure_all(const SnapshotFile& snapshot, const Thresholds& thresholds) {
  std::vector<SetMeasures> sets;
  for (const ProbeSet& set : probe_sets(snapshot)) sets.push_back(measure(snapshot, set, thresholds));
  return sets;
}

const SetMeasures* main_set(const std::vector<SetMeasures>& sets) {
  return sets.empty() ? nullptr : &sets.front();
}

const SetMeasures* set_without_bos(const std::vector<SetMeasures>& sets) {
  const SetMeasures* main = main_set(sets);
  for (const SetMeasures& m : sets) {
    if (!m.set.bos && m.set.sentence == main->set.sentence && m.set.text == main->set.text) return &m;
  }
  return nullptr;
}

const SetMeasures* find_set(const std::vector<SetMeasures>& sets, const std::string& key) {
  for (const SetMeasures& m : sets) {
    if (m.set.key == key) return &m;
  }
  return nullptr;
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

}  // namespace headroom::report
