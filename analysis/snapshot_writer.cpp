#include "analysis/snapshot_writer.h"

#include "analysis/snapshot_schema.h"

namespace headroom {

std::uintmax_t write_snapshot(const std::filesystem::path& path, const SnapshotFile& file,
                              const std::vector<RawSequence>& raw, bool kv_bias) {
  namespace schema = snapshot_schema;
  const SnapshotDims& dims = file.dims;
  H5File out = H5File::create(path);
  out.set_attribute("/", "format", std::string(schema::kFormat));
  out.set_attribute("/", "version", schema::kVersion);
  out.set_attribute("/", "step", file.provenance.step);
  out.set_attribute("/", "tokens_seen", file.provenance.tokens_seen);
  out.set_attribute("/", "run", file.provenance.run);
  out.set_attribute("/", "variant", file.provenance.variant);
  out.set_attribute("/", "created", file.created);
  out.set_attribute("/", "seconds", file.seconds);
  out.make_group("provenance");
  schema::for_each_text(file.provenance, [&](const char* name, const std::string& value) {
    out.set_attribute("provenance", name, value);
  });

  const ProbeRecord& probe = file.probe;
  out.write("probe/ids", probe.ids, {dims.sequences, dims.tokens});
  out.write("probe/lengths", probe.lengths, {dims.sequences});
  out.write("probe/bos", probe.bos, {dims.sequences});
  out.write_text("probe/kind", probe.kind, {dims.sequences});
  out.write_text("probe/text", probe.text, {dims.sequences});
  out.write_text("probe/pieces", probe.pieces, {dims.sequences, dims.tokens});
  out.set_attribute("probe", "notes", probe.notes);

  const auto write = [&](const std::string& prefix) {
    return [&out, prefix](const char* name, const auto& values, const H5Dims& shape) {
      out.write(prefix + name, values, shape);
    };
  };
  for (const auto& [site, statistics] : file.sites) {
    const std::string prefix = schema::site_path(site);
    schema::for_each_array(statistics, statistics.layers, dims, write(prefix));
    out.set_attribute(prefix + "histogram", "edges", statistics.edges);
  }
  schema::for_each_array(file.attention, dims, write(""));
  out.set_attribute("attention/sink_mass", "queries", kSinkTokens);

  out.make_group("raw");
  for (const RawSequence& one : raw) {
    const std::string prefix = schema::raw_path(one.sequence);
    out.write(prefix + "block_output", one.block_output, {dims.layers, one.tokens, dims.hidden});
    out.write(prefix + "embedding_output", one.embedding_output, {one.tokens, dims.hidden});
    out.write(prefix + "attention", one.attention, {dims.layers, dims.heads, one.tokens, one.tokens});
    out.set_attribute(prefix + "attention", "bias_slot", std::int64_t{kv_bias ? 1 : 0});
    if (kv_bias) out.write(prefix + "attention_bias", one.attention_bias, {dims.layers, dims.heads, one.tokens});
  }

  const WeightStatistics& weights = file.weights;
  const auto parameters = static_cast<std::int64_t>(weights.names.size());
  out.write_text("weights/names", weights.names, {parameters});
  out.write("weights/layer", weights.layer, {parameters});
  out.write("weights/mean", weights.mean, {parameters});
  out.write("weights/std", weights.std, {parameters});
  out.write("weights/max_abs", weights.max_abs, {parameters});
  out.commit(Sealing::sealed);
  return std::filesystem::file_size(path);
}

}  // namespace headroom
