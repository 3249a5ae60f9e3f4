#include "analysis/snapshot.h"

#include <cstring>
#include <string>

#include "analysis/snapshot_parts.h"
#include "analysis/snapshot_writer.h"
#include "analysis/weight_statistics.h"
#include "base/system.h"

namespace headroom {
namespace {

Batch padded_batch(const ProbeSequence& sequence, int tensor_ranks, std::int64_t seq_len) {
  const auto tokens = static_cast<std::int64_t>(sequence.ids.size());
  Batch batch;
  batch.batch = 1;
  batch.seq = (tokens + tensor_ranks - 1) / tensor_ranks * tensor_ranks;
  if (batch.seq > seq_len) {
    throw Error(
        ExitCode::bad_config,
        fmt::format("a probe sequence of {} tokens over {} tensor ranks needs {} positions, model.seq_len is {}",
                    tokens, tensor_ranks, batch.seq, seq_len),
        "Lower snapshot.calibration_tokens or shorten the sentence.");
  }
  batch.ids = sequence.ids;
  batch.ids.resize(static_cast<std::size_t>(batch.seq), sequence.ids.back());
  batch.targets.assign(static_cast<std::size_t>(batch.seq), -1);
  return batch;
}

// How writing went, told by the rank that did it to all others. A message: exit code and size, then message, NUL, hint.
struct Outcome {
  std::int64_t code = 0;  // ExitCode
  std::uint64_t bytes = 0;
};

template <class Write>
std::uintmax_t write_on_rank_0(Communicator& world, Write write) {
  std::vector<std::byte> told;
  if (world.rank() == 0) {
    Outcome outcome;
    std::string text;
    try {
      outcome.bytes = write();
    } catch (const Error& error) {
      outcome.code = static_cast<std::int64_t>(error.code());
      text = error.what() + std::string(1, '\0') + error.hint();
    } catch (const std::exception& error) {
      outcome.code = static_cast<std::int64_t>(ExitCode::internal);
      text = error.what() + std::string(1, '\0');
    }
    told.resize(sizeof outcome + text.size());
    std::memcpy(told.data(), &outcome, sizeof outcome);
    std::memcpy(told.data() + sizeof outcome, text.data(), text.size());
  }
  told = world.broadcast_bytes(told, 0);
  Outcome outcome;
  std::memcpy(&outcome, told.data(), sizeof outcome);
  if (outcome.code == 0) return outcome.bytes;
  const std::string text(reinterpret_cast<const char*>(told.data()) + sizeof outcome, told.size() - sizeof outcome);
  const std::size_t end = text.find('\0');
  throw Error(static_cast<ExitCode>(outcome.code), text.substr(0, end), text.substr(end + 1));
}

}  // namespace

SnapshotSession::SnapshotSession(const Mesh& mesh, const ModelConfig& model, const ProbeSet& probe,
                                 const SnapshotConfig& config)
    : mesh_(mesh), model_(model), probe_(probe), config_(config), tap_(mesh.tensor(), model.n_heads, config.top_k) {}

void SnapshotSession::run(const Forward& forward) {
  const auto stride = static_cast<std::size_t>(mesh_.data().size());
  for (auto i = static_cast<std::size_t>(mesh_.data().rank()); i < probe_.sequences.size(); i += stride) {
    const ProbeSequence& sequence = probe_.sequences[i];
    tap_.begin_sequence(static_cast<std::int64_t>(i), sequence);
    forward(padded_batch(sequence, mesh_.tensor().size(), model_.seq_len), tap_);
  }
}

std::uintmax_t SnapshotSession::write(const std::filesystem::path& path, const SnapshotProvenance& provenance,
                                      const ParameterStore& parameters) {
  WeightStatistics weights;
  if (mesh_.data().rank() == 0) weights = weight_statistics(parameters, mesh_.tensor());
  const std::vector<std::vector<std::byte>> messages = mesh_.world().gather_bytes(pack(tap_.parts()), 0);
  return write_on_rank_0(mesh_.world(), [&] {
    std::vector<SnapshotParts> ranks;
    for (const auto& message : messages) ranks.push_back(unpack(message));
    AssembledSnapshot snapshot = assemble(model_, probe_, config_, ranks);
    snapshot.file.provenance = provenance;
    snapshot.file.weights = std::move(weights);
    snapshot.file.created = utc_time();
    snapshot.file.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    return write_snapshot(path, snapshot.file, snapshot.raw, model_.attention.kv_bias != KvBiasKind::none);
  });
}

}  // namespace headroom
