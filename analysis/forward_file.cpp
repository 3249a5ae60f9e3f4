#include "analysis/forward_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hdf5.h"
#include "base/version.h"

namespace headroom {
namespace {

using decoder::Decoder;
using decoder::States;

constexpr std::int64_t kVersion = 1;

std::span<const float> numbers(const Tensor& tensor) {
  return {tensor.data<float>(), static_cast<std::size_t>(tensor.elements())};
}

std::string group(std::size_t sequence) {
  return fmt::format("sequences/{}/", sequence);
}

void write_provenance(H5File& out, const decoder::Config& config, const ForwardProvenance& provenance,
                      std::size_t sequences) {
  out.set_attribute("/", "format", std::string("headroom forward"));
  out.set_attribute("/", "version", kVersion);
  out.set_attribute("/", "program", version_line());
  out.set_attribute("/", "model", provenance.model);
  out.set_attribute("/", "checkpoint", std::filesystem::weakly_canonical(provenance.checkpoint).string());
  out.set_attribute("/", "ids", std::filesystem::weakly_canonical(provenance.ids).string());
  out.set_attribute("/", "family", config.family);
  out.set_attribute("/", "n_layers", config.n_layers);
  out.set_attribute("/", "hidden_size", config.hidden_size);
  out.set_attribute("/", "embedding_size", config.embedding_size);
  out.set_attribute("/", "vocab_size", config.vocab_size);
  out.set_attribute("/", "sequences", static_cast<std::int64_t>(sequences));
}

void write_hidden(H5File& out, const States& states, std::int64_t layer) {
  for (std::size_t i = 0; i < states.count(); ++i) {
    out.write_slab(group(i) + "hidden", numbers(states.of(i)), {layer, 0, 0}, {1, states.length(i), states.width()});
  }
}

void write_logits(H5File& out, const States& features, Decoder& decoder) {
  decoder.each_logits(features, [&](const Decoder::LogitsBlock& block) {
    const std::int64_t last_row = block.first_row + block.logits.rows();
    for (std::size_t i = 0; i < features.count(); ++i) {
      const std::int64_t begin = std::max(block.first_row, features.start(i));
      const std::int64_t end = std::min(last_row, features.start(i) + features.length(i));
      if (begin >= end) continue;
      out.write_slab(group(i) + "logits", numbers(block.logits.row_range(begin - block.first_row, end - begin)),
                     {begin - features.start(i), block.first_id}, {end - begin, block.logits.columns()});
    }
  });
}

}  // namespace

void write_forward(Decoder& decoder, std::span<const decoder::Sequence> sequences, const ForwardProvenance& provenance,
                   const std::filesystem::path& file, const std::function<void(std::int64_t layers)>& progress) {
  const decoder::Config& config = decoder.config();
  States states = decoder.embed(sequences);
  H5File out = H5File::create(file);
  write_provenance(out, config, provenance, sequences.size());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto length = static_cast<std::int64_t>(sequences[i].size());
    out.write(group(i) + "ids", sequences[i], {length});
    out.reserve<float>(group(i) + "hidden", {config.n_layers + 1, length, config.hidden_size});
    out.reserve<float>(group(i) + "final", {length, config.embedding_size});
    out.reserve<float>(group(i) + "logits", {length, config.vocab_size});
  }
  write_hidden(out, states, 0);
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    decoder.apply(layer, states, nullptr);
    write_hidden(out, states, layer + 1);
    progress(layer + 1);
  }
  const States features = decoder.finish(states, nullptr);
  for (std::size_t i = 0; i < features.count(); ++i) {
    out.write_slab(group(i) + "final", numbers(features.of(i)), {0, 0}, {features.length(i), features.width()});
  }
  write_logits(out, features, decoder);
  out.commit();
}

}  // namespace headroom
