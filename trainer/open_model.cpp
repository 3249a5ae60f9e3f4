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

// The directory's own; in Hugging Face's cache, where that is a commit (models--ORGANISATION--NAME/snapshots/COMMIT),
// the model's.
std::string name_of(const fs::path& directory) {
  const fs::path place = fs::weakly_canonical(directory);
  const std::string repository = place.parent_path().parent_path().filename().string();
  if (place.parent_path().filename() == "snapshots" && repository.starts_with("models--")) {
    return repository.substr(repository.rfind("--") + 2);
  }
  return place.filename().string();
}

OpenedModel open_huggingface(const fs::path& directory) {
  auto [config, weights] = huggingface::open_checkpoint(directory);
  const std::string name = name_of(directory);
  return {ModelKind::huggingface,
          name,
          directory,
          holds_tokenizer(directory) ? directory : fs::path(),
          {},
          std::make_unique<decoder::Decoder>(std::move(config), std::move(weights))};
}

// A path of a run's config is relative to where the run was started, which is mostly a directory above the run's. Where
// it is not there, to where this program was.
fs::path found_from(const fs::path& run, const fs::path& path) {
  if (path.empty() || path.is_absolute()) return path;
  for (fs::path above = fs::canonical(run); above.has_relative_path(); above = above.parent_path()) {
    if (fs::exists(above / path)) return above / path;
  }
  return path;
}

// A run's tokenizer: the one it names, its corpus' own, or one that it brought along from elsewhere; empty where none
// of them is there.
fs::path tokenizer_of(const RunConfig& config, const fs::path& run) {
  const fs::path named = found_from(run, config.data.tokenizer);
  if (!named.empty() && fs::exists(named)) return named;
  const fs::path corpus = found_from(run, config.data.corpus);
  if (named.empty() && fs::is_directory(corpus)) return corpus;
  return fs::exists(run / "tokenizer") ? run / "tokenizer" : fs::path();
}

OpenedModel open_checkpoint(const fs::path& checkpoint, const fs::path& run) {
  const fs::path own = checkpoint / "config.toml";
  const fs::path file = fs::exists(own) ? own : run / "config.toml";
  if (!fs::exists(file)) {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("{} is missing, which says what model the checkpoint is of", own.string()),
                "Fetch all of the checkpoint's files.");
  }
  const RunConfig config = load_config(file, {});
  const decoder::Config model = decoder_config(resolved(config.model));
  const Manifest manifest = read_manifest(checkpoint);
  const std::string name = fmt::format("{}, step {}", config.name, manifest.step);
  return {ModelKind::own,
          name,
          checkpoint,
          tokenizer_of(config, run),
          manifest.identity.tokenizer,
          std::make_unique<decoder::Decoder>(model, checkpoint_weights(checkpoint, model))};
}

}  // namespace

OpenedModel open_model(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) {
    throw Error(ExitCode::usage, fmt::format("'{}' is a file", path.string()), "Name the directory that it lies in.");
  }
  if (fs::exists(path / "config.json")) return open_huggingface(path);
  if (fs::exists(path / "manifest.json")) {
    const fs::path checkpoint = fs::canonical(path);
    return open_checkpoint(checkpoint, checkpoint.parent_path().parent_path());
  }
  if (const auto newest = CheckpointDirectory(path / "checkpoints").latest()) return open_checkpoint(*newest, path);
  if (fs::exists(path / "config.toml")) {
    throw Error(ExitCode::usage, fmt::format("the run '{}' has no checkpoint yet", path.string()),
                "Train it to one (checkpoint.every, or its end).");
  }
  throw Error(ExitCode::usage, fmt::format("'{}' is no model", path.string()),
              "Name a Hugging Face directory (with config.json), a run, or one of its checkpoints.");
}

}  // namespace headroom
