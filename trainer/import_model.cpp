#include "trainer/import_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"
#include "base/hash.h"
#include "base/hdf5.h"
#include "base/new_directory.h"
#include "base/system.h"
#include "base/version.h"
#include "data/tokenizer.h"
#include "model/huggingface/export_tensors.h"
#include "model/huggingface/family.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/checkpoint_files.h"
#include "trainer/config_schema.h"
#include "trainer/training_state.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// The names of model/transformer.cpp's parameters.
huggingface::TensorNames parameter_names(const decoder::Config& config) {
  huggingface::TensorNames names = huggingface::find_family("headroom")->names(config);
  names.prefixes = {""};
  names.embedding_scale = "embedding.scale";
  names.heads = {"head"};
  names.bias_key = "attention.kv_bias.key";
  names.bias_value = "attention.kv_bias.value";
  return names;
}

// rank-00000.h5 with all weights, each a dataset of one piece. Fills the manifest's files and tensors.
void write_weights(const fs::path& directory, const std::vector<huggingface::ExportedTensor>& tensors,
                   std::int64_t n_layers, const std::function<void(std::int64_t layers)>& progress,
                   Manifest& manifest) {
  const fs::path path = directory / rank_file(0);
  H5File file = H5File::create(path);
  std::vector<Manifest::Stretch> stretches;
  std::int64_t layer = 0;
  for (const huggingface::ExportedTensor& tensor : tensors) {
    if (tensor.layer > layer) progress(layer = tensor.layer);
    const auto& [name, shape] = tensor.shape;
    const Rectangle place{0, 0, shape[0], shape.size() == 2 ? shape[1] : 1};
    const std::string dataset = "weights/" + name;
    file.reserve<float>(dataset, {place.elements()});
    RunningHash hash;
    std::int64_t at = 0;
    tensor.numbers([&](std::span<const float> numbers) {
      file.write_slab(dataset, numbers, {at}, {std::ssize(numbers)});
      at += std::ssize(numbers);
      hash.add({reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()});
    });
    stretches.push_back({dataset, file.place_in_file(dataset), static_cast<std::int64_t>(hash.bytes()), hash.digits()});
    manifest.tensors.push_back({name, shape, {{0, 0, place}}});
  }
  file.commit();
  manifest.files.push_back(read_back(path, std::move(stretches)));
  progress(n_layers);
}

// Copies it, and gives its fingerprint.
std::string copy_tokenizer(const fs::path& from, const fs::path& to, std::int64_t vocab_size) {
  const Tokenizer tokenizer = Tokenizer::load(from);
  if (tokenizer.vocab_size() > vocab_size) {
    throw Error(ExitCode::bad_data,
                fmt::format("{} has {} tokens, the model {}", from.string(), tokenizer.vocab_size(), vocab_size),
                "Tokenizer and model do not belong together.");
  }
  make_directories(to);
  tokenizer.copy_to(to);
  return tokenizer.fingerprint();
}

}  // namespace

std::int64_t import_model(const decoder::Config& config, decoder::WeightSource& weights, const fs::path& tokenizer,
                          const fs::path& directory, const std::function<void(std::int64_t layers)>& progress) {
  const fs::path target = fs::absolute(directory.has_filename() ? directory : directory.parent_path());
  RunConfig run;
  run.name = target.filename().string();
  run.runs_dir = target.parent_path();
  run.model = resolved(model_config(config));
  run.snapshot.calibration_tokens = std::min(run.snapshot.calibration_tokens, run.model.seq_len);
  decoder::Config ours = decoder_config(run.model);
  ours.position_offset = config.position_offset;

  parse_config(to_toml(run), (target / "config.toml").string(), {});  // refuses a name or a model as training would
  NewDirectory place(target);
  Manifest manifest;
  manifest.layout = "1x1";
  manifest.dtype = manifest.stored = "f32";
  manifest.kinds = {"weights"};
  manifest.identity.commit = build_commit();
  if (!tokenizer.empty()) {
    manifest.identity.tokenizer = copy_tokenizer(tokenizer, place.path() / "tokenizer", config.vocab_size);
    run.data.tokenizer = target / "tokenizer";
  }
  TrainingState start(run.bad_steps);
  start.metrics = {0, hex_hash("")};
  manifest.state = start.to_json();
  manifest.about = {{"run", run.name},
                    {"from", fmt::format("a {} model", config.family)},
                    {"time", local_time()},
                    {"host", host_name()},
                    {"version", version_line()}};

  const CheckpointDirectory checkpoints(place.path() / "checkpoints");
  make_directories(checkpoints.path());
  checkpoints.begin(0);
  const std::string toml = to_toml(run);
  write_weights(checkpoints.partial(0), huggingface::exported_tensors(ours, parameter_names(ours), weights),
                config.n_layers, progress, manifest);
  const std::int64_t bytes = complete_files(checkpoints.partial(0), std::move(manifest), toml);
  checkpoints.publish(0);
  checkpoints.point_latest();
  write_file_atomically(place.path() / "config.toml", toml);
  place.publish();
  return bytes;
}

}  // namespace headroom
