#include "tests/analysis/report_fixture.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "analysis/snapshot_writer.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

ModelConfig model_of(const FixtureRun& run) {
  ModelConfig model;
  model.n_layers = run.layers;
  model.hidden_size = run.hidden;
  model.n_heads = run.heads;
  if (run.kv_bias) model.attention.kv_bias = KvBiasKind::kv;
  return model;
}

ProbeSequence sequence_of(const std::vector<std::string>& words, bool bos, ProbeKind kind) {
  ProbeSequence sequence;
  sequence.bos = bos;
  sequence.kind = kind;
  if (bos) sequence.pieces.push_back("<s>");
  for (const std::string& word : words) {
    sequence.pieces.push_back(word);
    sequence.text += word.starts_with("▁") ? (sequence.text.empty() ? "" : " ") + word.substr(3) : word;
  }
  for (std::size_t i = 0; i < sequence.pieces.size(); ++i) sequence.ids.push_back(static_cast<std::int32_t>(i + 1));
  return sequence;
}

ProbeSet probe_of(const FixtureRun& run) {
  static const std::vector<std::string> kWords = {"▁the", "▁rate", ",",      "▁of",    "▁<b>",
                                                  "▁&",   "\n",    "▁water", "▁\"x\"", "."};
  ProbeSet probe;
  if (!run.probe_note.empty()) probe.notes.push_back(run.probe_note);
  const std::vector<bool> forms = run.tokenizer ? std::vector<bool>{true, false} : std::vector<bool>{false};
  for (const auto& sentence : run.sentences) {
    if (!run.tokenizer) break;
    for (const bool bos : forms) probe.sequences.push_back(sequence_of(sentence, bos, ProbeKind::sentence));
  }
  for (std::int64_t i = 0; i < run.calibration; ++i) {
    for (const bool bos : forms) {
      std::vector<std::string> words;
      for (std::int64_t t = bos ? 1 : 0; t < run.window; ++t)
        words.push_back(kWords[static_cast<std::size_t>(t * 3 + i) % kWords.size()]);
      probe.sequences.push_back(sequence_of(words, bos, ProbeKind::calibration));
    }
  }
  return probe;
}

class Maker {
 public:
  Maker(const FixtureRun& run, std::int64_t step)
      : run_(run),
        grown_(run.planted * static_cast<double>(step) / static_cast<double>(run.steps)),
        random_(run.seed * 7919 + static_cast<std::uint64_t>(step)) {}

  SnapshotParts parts(const ProbeSet& probe) {
    SnapshotParts parts;
    for (std::size_t s = 0; s < probe.sequences.size(); ++s) {
      const ProbeSequence& sequence = probe.sequences[s];
      for (const Site site : kSites) {
        const bool once = site == Site::embedding_output || site == Site::final_norm_output;
        for (std::int64_t layer = 0; layer < (once ? 1 : run_.layers); ++layer) {
          const auto h = hidden(site, layer, sequence);
          HiddenPart part{
              .site = site,
              .layer = layer,
              .sequence = static_cast<std::int64_t>(s),
              .statistics = hidden_statistics<float>(h, static_cast<std::int64_t>(sequence.ids.size()), run_.hidden, 5),
              .raw = {}};
          const bool kept = site == Site::block_output || site == Site::embedding_output;
          if (kept && sequence.kind == ProbeKind::sentence) part.raw = h;
          parts.hidden.push_back(std::move(part));
        }
      }
      for (std::int64_t layer = 0; layer < run_.layers; ++layer) {
        for (std::int64_t head = 0; head < run_.heads; ++head)
          parts.heads.push_back(attention(layer, head, s, sequence));
      }
    }
    return parts;
  }

 private:
  std::vector<float> hidden(Site site, std::int64_t layer, const ProbeSequence& sequence) {
    std::normal_distribution<double> noise(
        0.0, run_.noise * (site == Site::block_output ? 1.0 + 0.3 * static_cast<double>(layer) : 0.7));
    std::vector<float> h(sequence.ids.size() * static_cast<std::size_t>(run_.hidden));
    for (float& value : h) value = static_cast<float>(noise(random_));
    const std::size_t at =
        (sequence.bos ? 0u : 2u) * static_cast<std::size_t>(run_.hidden) + static_cast<std::size_t>(run_.channel);
    if (site == Site::block_output && layer == run_.broken_layer) {
      h[static_cast<std::size_t>(run_.hidden) + 4] = run_.broken_value;
    }
    if (!(sequence.bos ? run_.planted_with_bos : run_.planted_without_bos)) return h;
    const bool between = layer >= run_.first_layer && layer < run_.layers - 1;
    // A little larger at its first layer, so that there is one right answer to where the largest is.
    if (site == Site::block_output && between)
      h[at] = static_cast<float>(grown_ * (1.0 - 0.01 * static_cast<double>(layer - run_.first_layer)));
    if (site == Site::mlp_output && layer == run_.first_layer) h[at] = static_cast<float>(grown_);
    if (site == Site::mlp_output && layer == run_.layers - 1) h[at] = static_cast<float>(-0.9 * grown_);
    return h;
  }

  HeadPart attention(std::int64_t layer, std::int64_t head, std::size_t index, const ProbeSequence& sequence) {
    const std::size_t n = sequence.ids.size();
    const double drawn = layer >= run_.first_layer ? run_.sink * (1.0 - 0.1 * static_cast<double>(head)) : 0.05;
    std::vector<float> map(n * n, 0.0f);
    std::vector<float> bias;
    std::uniform_real_distribution<double> weight(0.2, 1.0);
    for (std::size_t q = 0; q < n; ++q) {
      const double to_bias = run_.kv_bias ? drawn : 0.0;
      const double to_first = run_.kv_bias ? 0.0 : drawn;
      if (run_.kv_bias) bias.push_back(static_cast<float>(to_bias));
      std::vector<double> weights;
      double sum = 0.0;
      for (std::size_t k = 0; k <= q; ++k) sum += weights.emplace_back(weight(random_));
      for (std::size_t k = 0; k <= q; ++k) {
        const double spread = (1.0 - to_bias - to_first) * weights[k] / sum;
        map[q * n + k] = static_cast<float>(spread + (k == 0 ? to_first : 0.0));
      }
    }
    HeadPart part{.layer = layer,
                  .sequence = static_cast<std::int64_t>(index),
                  .head = head,
                  .masses = head_masses<float>(map, static_cast<std::int64_t>(n), static_cast<std::int64_t>(n), bias),
                  .map = {},
                  .bias = {}};
    if (sequence.kind == ProbeKind::sentence) {
      part.map = std::move(map);
      part.bias = std::move(bias);
    }
    return part;
  }

  const FixtureRun& run_;
  double grown_;
  std::mt19937_64 random_;
};

std::string config_of(const FixtureRun& run) {
  return fmt::format(
      "name = \"{}\"\nvariant = '{}'\n{}[model]\nvocab_size = {}\nhidden_size = {}\nn_layers = {}\nn_heads = "
      "{}\nhead_dim = 0\n"
      "seq_len = 64\nnorm = \"{}\"\n[model.attention]\nkv_bias = \"{}\"\n[optim]\nlr = {}\n[optim.tvr]\nenabled = "
      "{}\ntarget = 0.01\n"
      "layer_scaled = {}\n[train]\nsteps = {}\ndtype = \"f32\"\n",
      run.name, run.variant, run.seed_in_config ? fmt::format("seed = {}\n", run.seed) : "", run.vocab_size, run.hidden,
      run.layers, run.heads, run.dyt ? "dyt" : "rms", run.kv_bias ? "kv" : "none", run.lr, run.tvr, run.layer_scaled,
      run.steps);
}

WeightStatistics weights_of(const FixtureRun& run, std::int64_t step) {
  WeightStatistics weights;
  const double grown = 0.01 + (run.weight_std - 0.01) * static_cast<double>(step) / static_cast<double>(run.steps);
  const auto add = [&](std::string name, std::int64_t layer, double std) {
    weights.names.push_back(std::move(name));
    weights.layer.push_back(static_cast<std::int32_t>(layer));
    weights.mean.push_back(0.0f);
    weights.std.push_back(static_cast<float>(std));
    weights.max_abs.push_back(static_cast<float>(4.0 * std));
  };
  add("embedding.weight", -1, 0.02);
  for (std::int64_t layer = 0; layer < run.layers; ++layer) {
    add(fmt::format("layers.{}.attention_norm.weight", layer), layer, 0.0);
    int kind = 0;
    for (const char* part :
         {"attention.q", "attention.k", "attention.v", "attention.o", "mlp.gate", "mlp.up", "mlp.down"}) {
      add(fmt::format("layers.{}.{}.weight", layer, part), layer,
          grown * (1.0 + 0.04 * kind++ - 0.02 * static_cast<double>(layer)));
    }
  }
  return weights;
}

void write_metrics(const fs::path& file, const FixtureRun& run) {
  std::ofstream out(file);
  out << nlohmann::json{{"run", run.name}, {"variant", run.variant}, {"layout", "2x1"}, {"parameters", 1234567}}
      << '\n';
  std::mt19937_64 random(run.seed);
  std::normal_distribution<double> noise(0.0, 0.02);
  for (std::int64_t step = 1; step <= run.steps; ++step) {
    const double done = static_cast<double>(step) / static_cast<double>(run.steps);
    const double loss = run.final_loss + (9.0 - run.final_loss) * std::exp(-6.0 * done) * (1.0 - done);
    nlohmann::json line = {{"step", step},
                           {"epoch", 0},
                           {"tokens", step * run.tokens_per_step},
                           {"loss", loss + noise(random) * (1.0 - done)},
                           {"grad_norm", 1.0},
                           {"clipped", false},
                           {"lr", 1e-3},
                           {"step_seconds", 0.5},
                           {"tokens_per_second", 2.0 * static_cast<double>(run.tokens_per_step)}};
    for (std::int64_t layer = 0; run.monitor && layer < run.layers; ++layer) {
      const bool massive = layer >= run.first_layer && layer < run.layers - 1;
      const double median = 0.67 * run.noise * (1.0 + 0.3 * static_cast<double>(layer));
      const double max = median * 5.5 * (1.0 + 0.1 * noise(random) / 0.02) + (massive ? run.planted * done : 0.0);
      line["layer_max"].push_back(max);
      line["layer_median"].push_back(median);
      line["layer_ratio"].push_back(max / median);
      if (run.kv_bias) line["kv_bias_mass"].push_back(massive ? run.sink * done : 0.05);
      if (run.dyt) line["dyt_alpha"].push_back({1.0 - 0.5 * done, 0.5 + 0.05 * static_cast<double>(layer) * done});
    }
    if (run.tvr && step % 5 == 0)
      line["tvr"] = {{"rescaled", run.tvr_acts ? 7 * run.layers / step : 0},
                     {"matrices", 7 * run.layers},
                     {"max_ratio", 1.3},
                     {"mean_std", 0.01}};
    if (step % run.evaluate_every == 0)
      line["eval"] = {{"loss", loss + 0.1}, {"perplexity", std::exp(loss + 0.1)}, {"tokens", 5000}, {"seconds", 0.1}};
    out << line << '\n';
  }
}

}  // namespace

fs::path write_fixture(const fs::path& folder, const FixtureRun& run) {
  const fs::path directory = folder / run.name;
  fs::remove_all(directory);
  fs::create_directories(directory / "snapshots");
  std::ofstream(directory / "config.toml") << config_of(run);
  write_metrics(directory / "metrics.jsonl", run);
  SnapshotConfig config;
  config.top_k = 5;
  const ModelConfig model = model_of(run);
  const ProbeSet probe = probe_of(run);
  for (const std::int64_t step : run.snapshots) {
    AssembledSnapshot made = assemble(model, probe, config, {Maker(run, step).parts(probe)});
    made.file.provenance = {.step = step,
                            .tokens_seen = step * run.tokens_per_step,
                            .run = run.name,
                            .variant = run.variant,
                            .config = config_of(run),
                            .config_fingerprint = "00112233445566" + fmt::format("{:02x}", run.seed),
                            .commit = "abcdef012345",
                            .layout = "2x1",
                            .dtype = "f32",
                            .libraries = "HDF5 1.10",
                            .tokenizer_fingerprint = "cafe",
                            .corpus_fingerprint = run.corpus};
    made.file.created = "2026-01-02T03:04:05Z";
    made.file.seconds = 0.25;
    made.file.weights = weights_of(run, step);
    write_snapshot(directory / "snapshots" / fmt::format("step-{:08}.h5", step), made.file, made.raw, run.kv_bias);
  }
  return directory;
}

}  // namespace headroom
