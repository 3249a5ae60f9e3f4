#include "analysis/snapshot_parts.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "analysis/snapshot_schema.h"
#include "base/error.h"

namespace headroom {
namespace {

// Writes numbers and arrays of numbers one after another.
class Packer {
 public:
  template <class... Values>
  void operator()(const Values&... values) {
    (put(values), ...);
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    append(&value, sizeof value);
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put(values.size());
    append(values.data(), values.size() * sizeof(T));
  }
  void append(const void* data, std::size_t size) {
    const auto* const begin = static_cast<const std::byte*>(data);
    if (size > 0) bytes_.insert(bytes_.end(), begin, begin + size);
  }

  std::vector<std::byte> bytes_;
};

// Reads them back in the same order.
class Unpacker {
 public:
  explicit Unpacker(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class... Values>
  void operator()(Values&... values) {
    (get(values), ...);
  }
  void expect_end() const { expect(bytes_.empty()); }

 private:
  template <class T>
  void get(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    copy(&value, sizeof value);
  }
  template <class T>
  void get(std::vector<T>& values) {
    std::size_t size = 0;
    get(size);
    expect(size <= bytes_.size() / sizeof(T));
    values.resize(size);
    copy(values.data(), size * sizeof(T));
  }
  void copy(void* out, std::size_t size) {
    expect(size <= bytes_.size());
    if (size > 0) std::memcpy(out, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
  }
  static void expect(bool good) {
    if (!good) throw Error(ExitCode::communication, "a rank's part of a snapshot does not have the announced size");
  }

  std::span<const std::byte> bytes_;
};

template <class Archive, class Part>
void fields_of_hidden(Archive& archive, Part& part) {
  auto& s = part.statistics;
  archive(part.site, part.layer, part.sequence, part.raw);
  archive(s.max_abs, s.median_abs, s.rms, s.mean, s.std, s.kurtosis, s.mmr_mean, s.mmr_max, s.beyond_e4m3,
          s.beyond_e5m2, s.beyond_f16, s.nonfinite, s.top, s.channel_max, s.token_max, s.token_median, s.token_rms,
          s.histogram);
}

template <class Archive, class Part>
void fields_of_head(Archive& archive, Part& part) {
  auto& m = part.masses;
  archive(part.layer, part.sequence, part.head, part.map, part.bias);
  archive(m.first, m.bias, m.rest, m.bias_all, m.key_mass, m.sink_mass, m.sink_bias);
}

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::size_t product(std::initializer_list<std::int64_t> extents) {
  std::size_t all = 1;
  for (const std::int64_t extent : extents) all *= static_cast<std::size_t>(extent);
  return all;
}

void copy_as_float(const std::vector<double>& values, float* out) {
  std::transform(values.begin(), values.end(), out, [](double value) { return static_cast<float>(value); });
}

SiteStatistics empty_site(std::int64_t layers, const SnapshotDims& dims) {
  SiteStatistics site;
  site.layers = layers;
  site.sequences = dims.sequences;
  const std::size_t all = product({layers, dims.sequences});
  for (auto* values : {&site.max_abs, &site.median_abs, &site.rms, &site.mean, &site.std, &site.kurtosis,
                       &site.mmr_mean, &site.mmr_max, &site.beyond_e4m3, &site.beyond_e5m2, &site.beyond_f16}) {
    values->assign(all, kNaN);
  }
  site.nonfinite.assign(all, 0);
  site.top_values.assign(all * product({dims.top_k}), 0.0f);
  site.top_token.assign(all * product({dims.top_k}), -1);
  site.top_channel.assign(all * product({dims.top_k}), -1);
  site.channel_max.assign(all * product({dims.hidden}), kNaN);
  site.token_max.assign(all * product({dims.tokens}), kNaN);
  site.token_median.assign(all * product({dims.tokens}), kNaN);
  site.token_rms.assign(all * product({dims.tokens}), kNaN);
  site.histogram.assign(all * product({dims.bins}), 0);
  site.edges = histogram_edges();
  return site;
}

void place(const HiddenPart& part, const SnapshotDims& dims, SiteStatistics& site) {
  const std::size_t at = site.at(part.layer, part.sequence);
  const HiddenStatistics& s = part.statistics;
  site.max_abs[at] = static_cast<float>(s.max_abs);
  site.median_abs[at] = static_cast<float>(s.median_abs);
  site.rms[at] = static_cast<float>(s.rms);
  site.mean[at] = static_cast<float>(s.mean);
  site.std[at] = static_cast<float>(s.std);
  site.kurtosis[at] = static_cast<float>(s.kurtosis);
  site.mmr_mean[at] = static_cast<float>(s.mmr_mean);
  site.mmr_max[at] = static_cast<float>(s.mmr_max);
  site.beyond_e4m3[at] = static_cast<float>(s.beyond_e4m3);
  site.beyond_e5m2[at] = static_cast<float>(s.beyond_e5m2);
  site.beyond_f16[at] = static_cast<float>(s.beyond_f16);
  site.nonfinite[at] = s.nonfinite;
  for (std::size_t k = 0; k < s.top.size(); ++k) {
    const std::size_t slot = at * product({dims.top_k}) + k;
    site.top_values[slot] = static_cast<float>(s.top[k].value);
    site.top_token[slot] = s.top[k].token;
    site.top_channel[slot] = s.top[k].channel;
  }
  copy_as_float(s.channel_max, site.channel_max.data() + at * product({dims.hidden}));
  copy_as_float(s.token_max, site.token_max.data() + at * product({dims.tokens}));
  copy_as_float(s.token_median, site.token_median.data() + at * product({dims.tokens}));
  copy_as_float(s.token_rms, site.token_rms.data() + at * product({dims.tokens}));
  std::copy(s.histogram.begin(), s.histogram.end(),
            site.histogram.begin() + static_cast<std::ptrdiff_t>(at * product({dims.bins})));
}

ProbeRecord record_of(const ProbeSet& probe, std::int64_t tokens) {
  ProbeRecord record;
  const auto width = static_cast<std::size_t>(tokens);
  for (const ProbeSequence& sequence : probe.sequences) {
    record.lengths.push_back(static_cast<std::int32_t>(sequence.ids.size()));
    record.bos.push_back(sequence.bos ? 1 : 0);
    record.kind.emplace_back(name_of(sequence.kind));
    record.text.push_back(sequence.text);
    record.ids.insert(record.ids.end(), sequence.ids.begin(), sequence.ids.end());
    record.pieces.insert(record.pieces.end(), sequence.pieces.begin(), sequence.pieces.end());
    record.ids.resize(record.lengths.size() * width, -1);
    record.pieces.resize(record.lengths.size() * width);
  }
  record.notes = fmt::format("{}", fmt::join(probe.notes, "\n"));
  return record;
}

// Everything that is to come, ticked off as it comes.
class Roll {
 public:
  explicit Roll(std::size_t expected) : came_(expected, false) {}
  void tick(std::size_t index, const std::string& what) {
    HEADROOM_CHECK(index < came_.size() && !came_[index], "a snapshot got {} twice or out of range", what);
    came_[index] = true;
  }
  void expect_all(const std::string& what) const {
    const auto missing = std::count(came_.begin(), came_.end(), false);
    HEADROOM_CHECK(missing == 0, "a snapshot lacks {} of {} {}: the forward did not show them", missing, came_.size(),
                   what);
  }

 private:
  std::vector<bool> came_;
};

}  // namespace

std::vector<std::byte> pack(const SnapshotParts& parts) {
  Packer packer;
  packer(parts.hidden.size(), parts.heads.size());
  for (const HiddenPart& part : parts.hidden) fields_of_hidden(packer, part);
  for (const HeadPart& part : parts.heads) fields_of_head(packer, part);
  return packer.take();
}

SnapshotParts unpack(std::span<const std::byte> message) {
  Unpacker unpacker(message);
  std::size_t hidden = 0;
  std::size_t heads = 0;
  unpacker(hidden, heads);
  SnapshotParts parts;
  for (std::size_t i = 0; i < hidden; ++i) fields_of_hidden(unpacker, parts.hidden.emplace_back());
  for (std::size_t i = 0; i < heads; ++i) fields_of_head(unpacker, parts.heads.emplace_back());
  unpacker.expect_end();
  return parts;
}

AssembledSnapshot assemble(const ModelConfig& model, const ProbeSet& probe, const SnapshotConfig& config,
                           const std::vector<SnapshotParts>& ranks) {
  AssembledSnapshot out;
  SnapshotDims& dims = out.file.dims;
  dims = {model.n_layers,
          static_cast<std::int64_t>(probe.sequences.size()),
          0,
          model.hidden_size,
          model.n_heads,
          config.top_k,
          kHistogramBins};
  for (const ProbeSequence& sequence : probe.sequences) {
    dims.tokens = std::max(dims.tokens, static_cast<std::int64_t>(sequence.ids.size()));
  }
  out.file.probe = record_of(probe, dims.tokens);
  const bool bias_slot = model.attention.kv_bias != KvBiasKind::none;

  std::vector<std::size_t> raw_index(probe.sequences.size(), 0);
  for (std::size_t i = 0; i < probe.sequences.size(); ++i) {
    if (probe.sequences[i].kind != ProbeKind::sentence) continue;
    raw_index[i] = out.raw.size();
    RawSequence& raw = out.raw.emplace_back();
    raw.sequence = static_cast<std::int64_t>(i);
    raw.tokens = static_cast<std::int64_t>(probe.sequences[i].ids.size());
    raw.block_output.resize(product({dims.layers, raw.tokens, dims.hidden}));
    raw.embedding_output.resize(product({raw.tokens, dims.hidden}));
    raw.attention.resize(product({dims.layers, dims.heads, raw.tokens, raw.tokens}));
    if (bias_slot) raw.attention_bias.resize(product({dims.layers, dims.heads, raw.tokens}));
  }
  const auto put = [](const std::vector<float>& values, std::size_t block, std::vector<float>& into) {
    HEADROOM_CHECK((block + 1) * values.size() <= into.size(), "raw block {} of {} numbers in {}", block, values.size(),
                   into.size());
    std::copy(values.begin(), values.end(), into.begin() + static_cast<std::ptrdiff_t>(block * values.size()));
  };

  std::map<Site, Roll> hidden_roll;
  for (const Site site : kSites) {
    const std::int64_t layers = snapshot_schema::layers_of(site, dims);
    out.file.sites[site] = empty_site(layers, dims);
    hidden_roll.emplace(site, Roll(product({layers, dims.sequences})));
  }
  AttentionStatistics& attention = out.file.attention;
  attention.sequences = dims.sequences;
  attention.heads = dims.heads;
  const std::size_t all_heads = product({dims.layers, dims.sequences, dims.heads});
  for (auto* values : {&attention.mass_first, &attention.mass_bias, &attention.mass_rest, &attention.bias_mass,
                       &attention.sink_bias}) {
    values->assign(all_heads, kNaN);
  }
  attention.key_mass.assign(all_heads * product({dims.tokens}), kNaN);
  attention.sink_mass.assign(all_heads * product({dims.sink_keys()}), kNaN);
  Roll head_roll(all_heads);

  for (const SnapshotParts& parts : ranks) {
    for (const HiddenPart& part : parts.hidden) {
      SiteStatistics& site = out.file.sites.at(part.site);
      hidden_roll.at(part.site).tick(site.at(part.layer, part.sequence), std::string(name_of(part.site)));
      place(part, dims, site);
      if (part.raw.empty()) continue;
      RawSequence& raw = out.raw.at(raw_index.at(static_cast<std::size_t>(part.sequence)));
      put(part.raw, static_cast<std::size_t>(part.layer),
          part.site == Site::block_output ? raw.block_output : raw.embedding_output);
    }
    for (const HeadPart& part : parts.heads) {
      const std::size_t at = attention.at(part.layer, part.sequence, part.head);
      head_roll.tick(at, "an attention head");
      attention.mass_first[at] = static_cast<float>(part.masses.first);
      attention.mass_bias[at] = static_cast<float>(part.masses.bias);
      attention.mass_rest[at] = static_cast<float>(part.masses.rest);
      attention.bias_mass[at] = static_cast<float>(part.masses.bias_all);
      attention.sink_bias[at] = static_cast<float>(part.masses.sink_bias);
      copy_as_float(part.masses.key_mass, attention.key_mass.data() + at * product({dims.tokens}));
      copy_as_float(part.masses.sink_mass, attention.sink_mass.data() + at * product({dims.sink_keys()}));
      if (part.map.empty()) continue;
      RawSequence& raw = out.raw.at(raw_index.at(static_cast<std::size_t>(part.sequence)));
      const auto block = static_cast<std::size_t>(part.layer * dims.heads + part.head);
      put(part.map, block, raw.attention);
      if (bias_slot) put(part.bias, block, raw.attention_bias);
    }
  }
  for (const auto& [site, roll] : hidden_roll) roll.expect_all(std::string(name_of(site)));
  head_roll.expect_all("attention heads");
  return out;
}

}  // namespace headroom
