#include "analysis/snapshot_reader.h"

#include "analysis/snapshot_schema.h"
#include "base/error.h"
#include "base/seal.h"

namespace headroom {
namespace {

namespace schema = snapshot_schema;

[[noreturn]] void refuse(const H5File& file, const std::string& what) {
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: {}", file.path().string(), what));
}

void expect_snapshot(const H5File& file) {
  if (!file.has_attribute("/", "format") || file.text_attribute("/", "format") != schema::kFormat) {
    refuse(file, "an HDF5 file, but not a Headroom snapshot");
  }
  const std::int64_t version = file.int_attribute("/", "version");
  if (version != schema::kVersion) {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("{}: snapshot format version {}, this program reads {}", file.path().string(), version,
                            schema::kVersion),
                version < schema::kVersion ? "Take it again: `headroom train` of this version on the run's checkpoint."
                                           : "A newer Headroom wrote it; use that one.");
  }
}

H5Dims dims_of_rank(const H5File& file, const std::string& dataset, std::size_t rank) {
  const H5Dims dims = file.dims(dataset);
  if (dims.size() != rank) refuse(file, fmt::format("`{}` has {} axes, expected {}", dataset, dims.size(), rank));
  return dims;
}

// The extents, each from one dataset; reading holds all others against them.
SnapshotDims read_dims(const H5File& file) {
  const std::string block = schema::site_path(Site::block_output);
  const H5Dims ids = dims_of_rank(file, "probe/ids", 2);
  const H5Dims top = dims_of_rank(file, block + "top_values", 3);
  const H5Dims channels = dims_of_rank(file, block + "channel_max", 3);
  const H5Dims bins = dims_of_rank(file, block + "histogram", 3);
  const H5Dims masses = dims_of_rank(file, "attention/mass_first", 3);
  const SnapshotDims all = {top[0], ids[0], ids[1], channels[2], masses[2], top[2], bins[2]};
  for (const std::int64_t extent : {all.layers, all.sequences, all.tokens, all.hidden, all.heads, all.bins}) {
    if (extent < 1) {
      refuse(file, fmt::format("{} layers, {} sequences, {} tokens, {} channels, {} heads and {} bins: none may be 0",
                               all.layers, all.sequences, all.tokens, all.hidden, all.heads, all.bins));
    }
  }
  return all;
}

std::vector<std::string> read_text(const H5File& file, const std::string& dataset, const H5Dims& expected) {
  file.expect_dims(dataset, expected);
  return file.read_text(dataset).values;
}

ProbeRecord read_probe(const H5File& file, const SnapshotDims& dims) {
  ProbeRecord probe;
  probe.ids = file.read<std::int32_t>("probe/ids", {dims.sequences, dims.tokens});
  probe.lengths = file.read<std::int32_t>("probe/lengths", {dims.sequences});
  probe.bos = file.read<std::uint8_t>("probe/bos", {dims.sequences});
  probe.kind = read_text(file, "probe/kind", {dims.sequences});
  probe.text = read_text(file, "probe/text", {dims.sequences});
  probe.pieces = read_text(file, "probe/pieces", {dims.sequences, dims.tokens});
  probe.notes = file.text_attribute("probe", "notes");
  for (const std::int32_t length : probe.lengths) {
    if (length < 1 || length > dims.tokens) {
      refuse(file, fmt::format("`probe/lengths` has {}, the longest sequence {} tokens", length, dims.tokens));
    }
  }
  return probe;
}

SnapshotProvenance read_provenance(const H5File& file) {
  SnapshotProvenance provenance;
  provenance.step = file.int_attribute("/", "step");
  provenance.tokens_seen = file.int_attribute("/", "tokens_seen");
  provenance.run = file.text_attribute("/", "run");
  provenance.variant = file.text_attribute("/", "variant");
  schema::for_each_text(provenance,
                        [&](const char* name, std::string& value) { value = file.text_attribute("provenance", name); });
  return provenance;
}

WeightStatistics read_weights(const H5File& file) {
  WeightStatistics weights;
  const H5Dims dims = dims_of_rank(file, "weights/names", 1);
  weights.names = file.read_text("weights/names").values;
  weights.layer = file.read<std::int32_t>("weights/layer", dims);
  weights.mean = file.read<float>("weights/mean", dims);
  weights.std = file.read<float>("weights/std", dims);
  weights.max_abs = file.read<float>("weights/max_abs", dims);
  return weights;
}

// Places among the top values lead readers into other arrays, so they must lie inside the sequence and the state; of an
// empty slot both are -1.
void check_places(const H5File& file, const std::string& prefix, const SnapshotDims& dims, const ProbeRecord& probe,
                  const SiteStatistics& site) {
  for (std::int64_t layer = 0; layer < site.layers; ++layer) {
    for (std::int64_t sequence = 0; sequence < dims.sequences; ++sequence) {
      const auto tokens = site.row(site.top_token, layer, sequence);
      const auto channels = site.row(site.top_channel, layer, sequence);
      const std::int32_t length = probe.lengths[static_cast<std::size_t>(sequence)];
      for (std::size_t k = 0; k < tokens.size(); ++k) {
        const bool empty = tokens[k] == -1 && channels[k] == -1;
        const bool inside = tokens[k] >= 0 && tokens[k] < length && channels[k] >= 0 && channels[k] < dims.hidden;
        if (empty || inside) continue;
        refuse(file,
               fmt::format("`{}top_token` and `top_channel` have token {}, channel {} for a sequence of {} tokens "
                           "and {} channels",
                           prefix, tokens[k], channels[k], length, dims.hidden));
      }
    }
  }
}

// Reads an array of whatever element type into the struct's member.
auto read_into(const H5File& file, const std::string& prefix) {
  return [&file, prefix]<class T>(const char* name, std::vector<T>& values, const H5Dims& dims) {
    values = file.read<T>(prefix + name, dims);
  };
}

SnapshotFile read_contents(const H5File& file) {
  expect_snapshot(file);
  SnapshotFile contents;
  contents.provenance = read_provenance(file);
  contents.created = file.text_attribute("/", "created");
  contents.seconds = file.real_attribute("/", "seconds");
  contents.dims = read_dims(file);
  const SnapshotDims& dims = contents.dims;
  contents.probe = read_probe(file, dims);
  for (const Site site : kSites) {
    SiteStatistics& statistics = contents.sites[site];
    statistics.layers = schema::layers_of(site, dims);
    statistics.sequences = dims.sequences;
    const std::string prefix = schema::site_path(site);
    schema::for_each_array(statistics, statistics.layers, dims, read_into(file, prefix));
    check_places(file, prefix, dims, contents.probe, statistics);
    statistics.edges = file.reals_attribute(prefix + "histogram", "edges");
    if (static_cast<std::int64_t>(statistics.edges.size()) != dims.bins + 1) {
      refuse(file,
             fmt::format("`{}histogram@edges` has {} values for {} bins", prefix, statistics.edges.size(), dims.bins));
    }
  }
  contents.attention.sequences = dims.sequences;
  contents.attention.heads = dims.heads;
  schema::for_each_array(contents.attention, dims, read_into(file, ""));
  contents.weights = read_weights(file);
  return contents;
}

}  // namespace

SnapshotReader SnapshotReader::open(const std::filesystem::path& path) {
  verify_seal(path);
  SnapshotReader reader(H5File::open(path));
  reader.contents_ = read_contents(reader.file_);
  return reader;
}

std::vector<std::int64_t> SnapshotReader::raw_sequences() const {
  std::vector<std::int64_t> sequences;
  for (std::size_t i = 0; i < contents_.probe.kind.size(); ++i) {
    if (contents_.probe.kind[i] == "sentence") sequences.push_back(static_cast<std::int64_t>(i));
  }
  return sequences;
}

std::vector<float> SnapshotReader::raw_block_output(std::int64_t sequence) const {
  const SnapshotDims& dims = contents_.dims;
  return file_.read<float>(schema::raw_path(sequence) + "block_output", {dims.layers, tokens(sequence), dims.hidden});
}

std::vector<float> SnapshotReader::raw_attention(std::int64_t sequence) const {
  const SnapshotDims& dims = contents_.dims;
  const std::int64_t n = tokens(sequence);
  return file_.read<float>(schema::raw_path(sequence) + "attention", {dims.layers, dims.heads, n, n});
}

std::vector<float> SnapshotReader::raw_attention_bias(std::int64_t sequence) const {
  const SnapshotDims& dims = contents_.dims;
  const std::string dataset = schema::raw_path(sequence) + "attention_bias";
  if (!file_.contains(dataset)) return {};
  return file_.read<float>(dataset, {dims.layers, dims.heads, tokens(sequence)});
}

std::int64_t SnapshotReader::tokens(std::int64_t sequence) const {
  HEADROOM_CHECK(sequence >= 0 && sequence < contents_.dims.sequences, "probe sequence {} of {}", sequence,
                 contents_.dims.sequences);
  return contents_.probe.lengths[static_cast<std::size_t>(sequence)];
}

}  // namespace headroom
