#include "analysis/report/places.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace headroom::report {

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
      const double size = std::abs(values[i]);
      channel.largest = std::isnan(size) ? size : std::max(channel.largest, size);  // a NaN stays
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

bool is_massive(double value, double median, const Thresholds& thresholds) {
  return std::abs(value) > thresholds.absolute && std::abs(value) > thresholds.ratio * median;
}

std::vector<MassiveElement> massive_elements(const SnapshotFile& snapshot, const ProbeSet& set,
                                             const Thresholds& thresholds) {
  const SiteStatistics& site = snapshot.sites.at(Site::block_output);
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, MassiveElement> found;
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    for (const std::int64_t sequence : set.sequences) {
      const auto values = site.row(site.top_values, layer, sequence);
      const auto tokens = site.row(site.top_token, layer, sequence);
      const auto places = site.row(site.top_channel, layer, sequence);
      const double median = site.median_abs.at(site.at(layer, sequence));
      for (std::size_t k = 0; k < values.size(); ++k) {
        if (tokens[k] < 0 || !is_massive(values[k], median, thresholds)) continue;
        MassiveElement& element = found[{layer, places[k], tokens[k]}];
        element.layer = layer;
        element.channel = places[k];
        element.position = tokens[k];
        ++element.sequences;
        element.largest = std::max(element.largest, static_cast<double>(std::abs(values[k])));
      }
    }
  }
  std::vector<MassiveElement> out;
  for (const auto& [place, element] : found) out.push_back(element);
  std::stable_sort(out.begin(), out.end(), [](const MassiveElement& a, const MassiveElement& b) {
    return std::tie(a.layer, b.sequences, b.largest) < std::tie(b.layer, a.sequences, a.largest);
  });
  return out;
}

bool may_have_more(const SnapshotFile& snapshot, const ProbeSet& set, std::int64_t layer,
                   const Thresholds& thresholds) {
  const SiteStatistics& site = snapshot.sites.at(Site::block_output);
  return std::any_of(set.sequences.begin(), set.sequences.end(), [&](std::int64_t sequence) {
    const auto values = site.row(site.top_values, layer, sequence);
    const double median = site.median_abs.at(site.at(layer, sequence));
    return !values.empty() && is_massive(values.back(), median, thresholds);
  });
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

std::string piece_at(const SnapshotFile& snapshot, std::int64_t sequence, std::int64_t token) {
  return snapshot.probe.pieces.at(static_cast<std::size_t>(sequence * snapshot.dims.tokens + token));
}

}  // namespace headroom::report
