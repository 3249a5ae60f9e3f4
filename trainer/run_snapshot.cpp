#include "trainer/run_snapshot.h"

#include <chrono>

#include "analysis/snapshot.h"
#include "parallel/versions.h"
#include "trainer/config_schema.h"

namespace headroom {
namespace {

std::optional<Tokenizer> tokenizer_of(const RunConfig& config, const Corpus& corpus) {
  const std::filesystem::path& file = config.data.tokenizer.empty() ? corpus.tokenizer_model : config.data.tokenizer;
  if (file.empty()) return std::nullopt;
  Tokenizer tokenizer = Tokenizer::load(file);
  const std::string& expected = corpus.train.tokenizer_fingerprint();
  if (!expected.empty() && tokenizer.fingerprint() != expected) {
    throw Error(ExitCode::bad_data,
                fmt::format("{} has fingerprint {}, the corpus {} was made with {}", file.string(),
                            tokenizer.fingerprint(), corpus.train.path().string(), expected),
                "Leave data.tokenizer unset to use the corpus' own tokenizer.");
  }
  return tokenizer;
}

}  // namespace

RunSnapshots::RunSnapshots(const RunConfig& config, const Corpus& corpus) : config_(config) {
  const std::optional<Tokenizer> tokenizer = tokenizer_of(config, corpus);
  if (tokenizer) tokenizer_fingerprint_ = tokenizer->fingerprint();
  probe_ = build_probe_set(config.snapshot, corpus.valid, tokenizer ? &*tokenizer : nullptr, config.model.seq_len,
                           config.model.vocab_size);
}

SnapshotReceipt RunSnapshots::take(const std::filesystem::path& directory, const TrainingPosition& position,
                                   const CheckpointIdentity& identity, Transformer& model, const Mesh& mesh) const {
  const auto begin = std::chrono::steady_clock::now();
  SnapshotSession session(mesh, config_.model, probe_, config_.snapshot);
  session.run([&](const Batch& batch, ActivationTap& tap) { model.evaluate(batch, &tap); });
  const SnapshotProvenance provenance{.step = position.step,
                                      .tokens_seen = position.tokens,
                                      .run = config_.name,
                                      .variant = config_.variant,
                                      .config = to_toml(config_),
                                      .config_fingerprint = identity.config_fingerprint,
                                      .commit = identity.commit,
                                      .layout = fmt::format("{}x{}", mesh.layout().data, mesh.layout().tensor),
                                      .dtype = std::string(name_of(config_.train.dtype)),
                                      .libraries = library_versions(),
                                      .tokenizer_fingerprint = tokenizer_fingerprint_,
                                      .corpus_fingerprint = identity.corpus_fingerprint};
  const std::filesystem::path path = directory / fmt::format("step-{:08}.h5", position.step);
  const auto bytes = static_cast<std::int64_t>(session.write(path, provenance, model.parameters()));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {path, bytes, elapsed.count()};
}

}  // namespace headroom
