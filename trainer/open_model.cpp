#include "trainer/open_model.h"

#include <fmt/format.h>

#include "data/tokenizer/tokenizer_files.h"
#include "model/huggingface/source.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/checkpoint_manifest.h"
#include "trainer/config_schema.h"
#include "trainer/decoder_checkpoint.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

OpenedModel open_huggingface(const fs::path& directory) {
  const decoder::Config config = huggingface::read_config(directory);
  const std::string name = fs::weakly_canonical(directory).filename().string();
  return {ModelKind::huggingface,
          name,
          directory,
          holds_tokenizer(directory) ? directory : fs::path(),
          {},
          std::make_unique<decoder::Decoder>(config, huggingface::open_weights(directory, config))};
}

// A run's tokenizer: the one it names, or its corpus' own.
fs::path tokenizer_of(const RunConfig& config) {
  if (!config.data.tokenizer.empty() || !fs::is_directory(config.data.corpus)) return config.data.tokenizer;
  return config.data.corpus;
}

OpenedModel open_checkpoint(const fs::path& checkpoint, const fs::path& run) {
  const fs::path file = run / "config.toml";
  if (!fs::exists(file)) {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("{} is missing, which says what model the checkpoint is of", file.string()),
                "Keep a checkpoint in its run's directory, or convert it with `headroom convert` where that is whole.");
  }
  const RunConfig config = load_config(file, {});
  const decoder::Config model = decoder_config(resolved(config.model));
  const Manifest manifest = read_manifest(checkpoint);
  const std::string name = fmt::format("{}, step {}", config.name, manifest.step);
  return {ModelKind::own,
          name,
          checkpoint,
          tokenizer_of(config),
          manifest.identity.tokenizer,
          std::make_unique<decoder::Decoder>(model, checkpoint_weights(checkpoint, model))};
}

}  // namespace

OpenedModel open_model(const fs::path& path) {
  if (fs::exists(path / "config.json")) return open_huggingface(path);
  if (fs::exists(path / "manifest.json")) {
    const fs::path checkpoint = fs::canonical(path);
    return open_checkpoint(checkpoint, checkpoint.parent_path().parent_path());
  }
  if (const auto newest = CheckpointDirectory(path / "checkpoints").latest()) return open_checkpoint(*newest, path);
  throw Error(ExitCode::usage, fmt::format("'{}' is no model", path.string()),
              "Name a Hugging Face directory (with config.json), a run, or one of its checkpoints.");
}

}  // namespace headroom
