#include "trainer/run_snapshot.h"

#include <chrono>

#include "analysis/snapshot.h"
#include "parallel/versions.h"
#include "trainer/config_schema.h"
#include "trainer/stop_request.h"

namespace headroom {
namespace {

std::optional<Tokenizer> tokenizer_of(const RunConfig& config, const Corpus& corpus) {
  const std::filesystem::path& file = config.data.tokenizer.empty() ? corpus.tokenizer_file : config.data.tokenizer;
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

RunSnapshots::RunSnapshots(const RunConfig& config, const Corpus& corpus, ProbeSet probe)
    : config_(config), probe_(std::move(probe)) {
  const std::optional<Tokenizer> tokenizer = tokenizer_of(config, corpus);
  if (tokenizer) tokenizer_fingerprint_ = tokenizer->fingerprint();
}

std::optional<SnapshotReceipt> RunSnapshots::take(const std::filesystem::path& directory, std::int64_t step,
                                                  std::int64_t tokens, const CheckpointIdentity& identity,
                                                  Transformer& model, const Mesh& mesh) const {
  const auto begin = std::chrono::steady_clock::now();
  SnapshotSession session(mesh, config_.model, probe_, config_.snapshot);
  // The ranks that hold one model stop together; data ranks, which have different numbers of sequences, agree at the
  // end.
  bool stopped = false;
  session.run([&](const Batch& batch, ActivationTap& tap) {
    stopped = stopped || stop_agreed(mesh.tensor());
    if (!stopped) model.evaluate(batch, &tap);
  });
  if (stop_agreed(mesh.world())) return std::nullopt;
  const SnapshotProvenance provenance{.step = step,
                                      .tokens_seen = tokens,
                                      .run = config_.name,
                                      .variant = config_.variant,
                                      .config = to_toml(config_),
                                      .config_fingerprint = identity.config,
                                      .commit = identity.commit,
                                      .layout = fmt::format("{}x{}", mesh.layout().data, mesh.layout().tensor),
                                      .dtype = std::string(name_of(config_.train.dtype)),
                                      .libraries = library_versions(),
                                      .tokenizer_fingerprint = tokenizer_fingerprint_,
                                      .corpus_fingerprint = identity.train};
  const std::filesystem::path path = directory / fmt::format("step-{:08}.h5", step);
  const auto bytes = static_cast<std::int64_t>(session.write(path, provenance, model.parameters()));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return SnapshotReceipt{path, bytes, elapsed.count()};
}

}  // namespace headroom
