// The datasets of a snapshot file that have a fixed place, as one table for writer and reader: name, array, extents.
// docs/snapshot-format.md says what they mean.
#pragma once

#include <string>

#include "analysis/snapshot_file.h"
#include "base/hdf5.h"

namespace headroom::snapshot_schema {

inline constexpr const char* kFormat = "headroom-snapshot";
inline constexpr std::int64_t kVersion = 3;

// Calls visit(name, array, dims) for each array of a site; `site` may be const.
template <class Site, class Visit>
void for_each_array(Site& site, std::int64_t layers, const SnapshotDims& dims, Visit visit) {
  const H5Dims each = {layers, dims.sequences};
  const auto with = [&](std::int64_t extent) { return H5Dims{layers, dims.sequences, extent}; };
  visit("max_abs", site.max_abs, each);
  visit("median_abs", site.median_abs, each);
  visit("rms", site.rms, each);
  visit("mean", site.mean, each);
  visit("std", site.std, each);
  visit("kurtosis", site.kurtosis, each);
  visit("mmr_mean", site.mmr_mean, each);
  visit("mmr_max", site.mmr_max, each);
  visit("beyond_e4m3", site.beyond_e4m3, each);
  visit("beyond_e5m2", site.beyond_e5m2, each);
  visit("beyond_f16", site.beyond_f16, each);
  visit("nonfinite", site.nonfinite, each);
  visit("top_values", site.top_values, with(dims.top_k));
  visit("top_token", site.top_token, with(dims.top_k));
  visit("top_channel", site.top_channel, with(dims.top_k));
  visit("channel_max", site.channel_max, with(dims.hidden));
  visit("token_max", site.token_max, with(dims.tokens));
  visit("token_median", site.token_median, with(dims.tokens));
  visit("token_rms", site.token_rms, with(dims.tokens));
  visit("histogram", site.histogram, with(dims.bins));
}

template <class Attention, class Visit>
void for_each_array(Attention& attention, const SnapshotDims& dims, Visit visit) {
  const H5Dims each = {dims.layers, dims.sequences, dims.heads};
  visit("attention/mass_first", attention.mass_first, each);
  visit("attention/mass_bias", attention.mass_bias, each);
  visit("attention/mass_rest", attention.mass_rest, each);
  visit("attention/bias_mass", attention.bias_mass, each);
  visit("attention/sink_bias", attention.sink_bias, each);
  visit("attention/key_mass", attention.key_mass, H5Dims{dims.layers, dims.sequences, dims.heads, dims.tokens});
  visit("attention/sink_mass", attention.sink_mass, H5Dims{dims.layers, dims.sequences, dims.heads, dims.sink_keys()});
}

// The strings of provenance/, by attribute name.
template <class Provenance, class Visit>
void for_each_text(Provenance& provenance, Visit visit) {
  visit("config", provenance.config);
  visit("config_fingerprint", provenance.config_fingerprint);
  visit("commit", provenance.commit);
  visit("layout", provenance.layout);
  visit("dtype", provenance.dtype);
  visit("libraries", provenance.libraries);
  visit("tokenizer_fingerprint", provenance.tokenizer_fingerprint);
  visit("corpus_fingerprint", provenance.corpus_fingerprint);
}

inline std::string site_path(Site site) {
  return "sites/" + std::string(name_of(site)) + "/";
}
inline std::string raw_path(std::int64_t sequence) {
  return "raw/" + std::to_string(sequence) + "/";
}
inline std::int64_t layers_of(Site site, const SnapshotDims& dims) {
  return site == Site::embedding_output || site == Site::final_norm_output ? 1 : dims.layers;
}

}  // namespace headroom::snapshot_schema
