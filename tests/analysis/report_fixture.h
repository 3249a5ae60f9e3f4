// Run directories as a trainer would leave them, with a massive activation planted at a known place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace headroom {

struct FixtureRun {
  std::string name = "run";
  std::string variant = "baseline";
  std::int64_t layers = 5;
  std::int64_t hidden = 23;
  std::int64_t heads = 3;
  std::int64_t vocab_size = 97;
  std::int64_t steps = 12;
  std::int64_t tokens_per_step = 1000;
  std::vector<std::int64_t> snapshots = {6, 12};
  std::int64_t calibration = 3;  // windows, each with and without BOS
  std::int64_t window = 11;      // tokens
  std::vector<std::vector<std::string>> sentences = {
      {"▁Summer", "▁is", "▁warm", ".", "▁Winter", "▁is", "▁cold", "."}};  // as pieces
  bool tokenizer = true;   // without one there are no sentences and no sequences with BOS
  std::string probe_note;  // what the probe set could not have
  std::string corpus = "beef";

  // The planted activation: written by the MLP of `first_layer`, kept up to the last layer but one, where the MLP takes
  // it away again. It grows linearly over the run's steps. With BOS at position 0, without at position 2.
  double planted = 420.0;  // at the last step; 0: none
  bool planted_with_bos = true, planted_without_bos = true;
  std::int64_t first_layer = 1;
  std::int64_t channel = 17;
  double noise = 0.1;  // standard deviation of everything else
  double sink = 0.7;   // attention to key 0 from first_layer on (to the bias slot with a KV bias)

  // Where to put a value that is not finite instead: the block output of this layer, position 1, channel 4. -1:
  // nowhere.
  std::int64_t broken_layer = -1;
  float broken_value = 0.0f;

  bool kv_bias = false, dyt = false, tvr = false, layer_scaled = false;
  bool tvr_acts = true;             // whether it finds matrices to rescale
  bool monitor = true;              // whether the metrics have the layers' figures
  std::int64_t evaluate_every = 4;  // steps
  double final_loss = 3.5;          // training loss falls to this, held-out loss to 0.1 above
  double weight_std = 0.03;
  std::uint64_t seed = 1;
  bool seed_in_config = false;  // so that runs of several seeds are taken for a group
  double lr = 2e-3;
};

// Writes `folder`/NAME with config.toml, metrics.jsonl and snapshots/; returns its path.
std::filesystem::path write_fixture(const std::filesystem::path& folder, const FixtureRun& run);

}  // namespace headroom
