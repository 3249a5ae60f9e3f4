// A forward that shows a tap known tensors instead of computing them: every number is a function of site, layer, row
// and channel alone, so that any layout is shown the same hidden states and the same attention.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "analysis/probe.h"
#include "analysis/snapshot.h"
#include "base/random.h"
#include "model/parameters.h"
#include "parallel/mesh.h"
#include "tests/arena_for.h"

namespace headroom::test {

class FakeModel {
 public:
  static ModelConfig config(KvBiasKind kv_bias, std::int64_t heads) {
    ModelConfig config;
    config.vocab_size = 100;
    config.hidden_size = 11;
    config.n_layers = 3;
    config.n_heads = config.n_kv_heads = heads;
    config.head_dim = 5;
    config.seq_len = 80;
    config.attention.kv_bias = kv_bias;
    return config;
  }

  FakeModel(const Mesh& mesh, const ModelConfig& config, DType dtype) : mesh_(mesh), config_(config), dtype_(dtype) {
    const int rank = mesh.tensor().rank();
    const int size = mesh.tensor().size();
    const auto declare = [&](const char* name, Shape shape, Partition partition, std::int64_t layer) {
      Parameter parameter;
      parameter.name = name;
      parameter.logical = shape;
      parameter.partition = partition;
      parameter.layer = layer;
      parameter.init_mean = partition == Partition::replicated ? 0.5 : 0.0;
      parameter.init_std = 0.3;
      store_.declare(parameter, rank, size);
    };
    declare("embedding.weight", {7, 5}, Partition::rows, -1);
    declare("layers.0.q.weight", {5, 6}, Partition::rows, 0);
    declare("layers.0.q.bias", {5}, Partition::rows, 0);
    declare("layers.0.o.weight", {3, 7}, Partition::columns, 0);
    declare("final_norm.weight", {9}, Partition::replicated, -1);
    store_.finalize(dtype, mesh.data().size(), 1 << 10);
    memory_ = arena_for(store_);
    store_.initialize(5);
    for (const Parameter& parameter : store_.all()) poison_padding(parameter);
  }

  const ParameterStore& parameters() const { return store_; }

  // Element of the hidden state at a site; sequences differ by their first tokens. A sink at position 0, channel 3, and
  // at one place of what the MLP adds a number between E5M2's largest and F16's.
  static double hidden_value(Site site, std::int64_t layer, std::int64_t row, std::int64_t channel,
                             const Batch& batch) {
    const RandomStream stream(static_cast<std::uint64_t>(batch.ids[0] * 1000 + batch.ids[1]),
                              std::string(name_of(site)) + std::to_string(layer));
    if (site == Site::mlp_output && row == 1 && channel == 5) return 60000.0;
    const double sink = row == 0 && channel == 3 ? 700.0 : 1.0;
    return sink * stream.normal(static_cast<std::uint64_t>(row * 64 + channel));
  }

  // Shows one sequence. Rows past the real tokens are huge: nothing of them may reach a snapshot.
  void forward(const Batch& batch, std::int64_t tokens, ActivationTap& tap) const {
    for (const Site site : kSites) {
      const bool once = site == Site::embedding_output || site == Site::final_norm_output;
      for (std::int64_t layer = 0; layer < (once ? 1 : config_.n_layers); ++layer)
        show(site, layer, batch, tokens, tap);
    }
    for (std::int64_t layer = 0; layer < config_.n_layers; ++layer) show_attention(layer, batch, tap);
  }

 private:
  void set(const Tensor& tensor, std::int64_t index, double value) const {
    if (dtype_ == DType::f64) {
      tensor.data<double>()[index] = value;
    } else {
      tensor.data<float>()[index] = static_cast<float>(value);
    }
  }

  Buffer buffer(std::int64_t elements) const {
    return {static_cast<std::size_t>(elements) * size_of(dtype_), Device::cpu, "a fake model"};
  }

  void poison_padding(const Parameter& parameter) const {
    if (parameter.partition == Partition::replicated) return;
    const std::int64_t columns = parameter.value.columns();
    for (std::int64_t i = 0; i < parameter.elements(); ++i) {
      const bool by_columns = parameter.partition == Partition::columns;
      const std::int64_t place = by_columns || parameter.local.rank() == 1 ? i % columns : i / columns;
      if (place >= parameter.real) set(parameter.value, i, 1e6);
    }
  }

  void show(Site site, std::int64_t layer, const Batch& batch, std::int64_t tokens, ActivationTap& tap) const {
    const std::int64_t rows = batch.seq / mesh_.tensor().size();
    const std::int64_t first = rows * mesh_.tensor().rank();
    const Buffer memory = buffer(rows * config_.hidden_size);
    const Tensor own = memory.tensor({rows, config_.hidden_size}, dtype_);
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t channel = 0; channel < config_.hidden_size; ++channel) {
        const bool padding = first + row >= tokens;
        set(own, row * config_.hidden_size + channel,
            padding ? 1e9 : hidden_value(site, layer, first + row, channel, batch));
      }
    }
    tap.hidden(site, layer, own, first);
  }

  // Heads are dealt out evenly, the last ranks' may be padding.
  void show_attention(std::int64_t layer, const Batch& batch, ActivationTap& tap) const {
    const std::int64_t ranks = mesh_.tensor().size();
    const std::int64_t heads = (config_.n_heads + ranks - 1) / ranks;
    const std::int64_t first_head = heads * mesh_.tensor().rank();
    const AttentionShape shape{1, batch.seq, heads, heads, config_.head_dim};
    const Buffer qkv_memory = buffer(shape.rows() * shape.qkv_width());
    const Buffer out_memory = buffer(shape.rows() * shape.query_width());
    const Buffer lse_memory = buffer(heads * batch.seq);
    const Buffer mass_memory = buffer(heads * batch.seq);
    const Buffer key_memory = buffer(heads * config_.head_dim);
    const Tensor qkv = qkv_memory.tensor({shape.rows(), shape.qkv_width()}, dtype_);
    const Tensor out = out_memory.tensor({shape.rows(), shape.query_width()}, dtype_);
    const Tensor lse = lse_memory.tensor({1, heads, batch.seq}, dtype_);
    const Tensor key = key_memory.tensor({heads, config_.head_dim}, dtype_);
    const Tensor mass =
        config_.attention.kv_bias == KvBiasKind::none ? Tensor() : mass_memory.tensor({1, heads, batch.seq}, dtype_);
    for (std::int64_t head = 0; head < heads; ++head) {
      const RandomStream stream(static_cast<std::uint64_t>(batch.ids[0] * 1000 + batch.ids[1]),
                                "qkv/" + std::to_string(layer) + "/" + std::to_string(first_head + head));
      for (std::int64_t part = 0; part < 3; ++part) {
        for (std::int64_t row = 0; row < batch.seq; ++row) {
          for (std::int64_t d = 0; d < config_.head_dim; ++d) {
            set(qkv, row * shape.qkv_width() + (part * heads + head) * config_.head_dim + d,
                2.0 * stream.normal(static_cast<std::uint64_t>((row * 3 + part) * 64 + d)));
          }
        }
      }
      for (std::int64_t d = 0; d < config_.head_dim; ++d) {
        set(key, head * config_.head_dim + d, stream.normal(static_cast<std::uint64_t>((1 << 20) + d)));
      }
    }
    ops::attention(qkv, shape, out, lse);
    if (mass.present()) ops::kv_bias(qkv, key, Tensor(), shape, out, lse, mass);
    tap.attention(layer, AttentionView{qkv, lse, mass, shape, first_head});
  }

  const Mesh& mesh_;
  ModelConfig config_;
  DType dtype_;
  ParameterStore store_;
  std::unique_ptr<Arena> memory_;
};

// Sequences of several lengths, most no multiple of the number of ranks, and, where asked for, one that is longer than
// the part that attention sinks are looked for in.
inline ProbeSet fake_probe(bool with_long_one = false) {
  ProbeSet probe;
  std::int32_t next = 1;
  const auto add = [&](std::int32_t length, bool bos, ProbeKind kind) {
    ProbeSequence sequence;
    for (std::int32_t i = 0; i < length; ++i) {
      sequence.ids.push_back(next++);
      sequence.pieces.push_back("▁p" + std::to_string(sequence.ids.back()));
    }
    sequence.bos = bos;
    sequence.kind = kind;
    sequence.text = "sequence of " + std::to_string(length);
    probe.sequences.push_back(sequence);
  };
  add(5, true, ProbeKind::sentence);
  add(2, false, ProbeKind::sentence);
  add(9, true, ProbeKind::calibration);
  add(7, false, ProbeKind::calibration);
  add(11, false, ProbeKind::calibration);
  if (with_long_one) add(71, true, ProbeKind::calibration);
  probe.notes = {"only 3 of 4 windows", "no tokenizer"};
  return probe;
}

inline SnapshotProvenance fake_provenance() {
  SnapshotProvenance provenance;
  provenance.step = 100;
  provenance.tokens_seen = 204800;
  provenance.run = "fake";
  provenance.variant = "TVR + DyT";
  provenance.config = "[model]\nhidden_size = 11\n";
  provenance.config_fingerprint = "0123456789abcdef";
  provenance.commit = "unknown";
  provenance.layout = "1x1";
  provenance.dtype = "f32";
  provenance.libraries = "none";
  provenance.tokenizer_fingerprint = "fedcba9876543210";
  provenance.corpus_fingerprint = "42";
  return provenance;
}

// Takes a whole snapshot of the fake model. Collective over the mesh.
inline std::uintmax_t fake_snapshot(const Mesh& mesh, const ModelConfig& config, DType dtype, const ProbeSet& probe,
                                    const std::filesystem::path& path) {
  const FakeModel model(mesh, config, dtype);
  SnapshotConfig snapshot;
  snapshot.top_k = 6;
  SnapshotSession session(mesh, config, probe, snapshot);
  session.run([&](const Batch& batch, ActivationTap& tap) {
    std::int64_t tokens = 0;
    for (const ProbeSequence& sequence : probe.sequences) {
      if (sequence.ids[0] == batch.ids[0]) tokens = static_cast<std::int64_t>(sequence.ids.size());
    }
    model.forward(batch, tokens, tap);
  });
  return session.write(path, fake_provenance(), model.parameters());
}

}  // namespace headroom::test
