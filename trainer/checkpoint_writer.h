// Saving a run while it goes on. A rank copies its share of the state to host memory, which is all that a step waits
// for; a thread writes the copy to the rank's file, and when every rank's is there, rank 0's thread writes what makes a
// checkpoint of them and puts it in its place.
//
//   step-00000500/rank-00000.h5   a file a rank: {weights,first_moment,second_moment}/NAME, the rectangles of each
//   logical
//                                 tensor that the rank's optimizer shard holds, one after another
//   step-00000500/tensors.h5      the same as whole tensors: virtual datasets that show the ranks' files
//   step-00000500/config.toml     the run's config
//   step-00000500/manifest.json   written last (trainer/checkpoint_manifest.h)
//
// Weights are those that the optimizer works on: of a bf16 model the f32 master weights, of which the model's are the
// rounded copy. Nothing is written twice: data ranks share a model's tensors out among themselves, and what all tensor
// ranks hold alike, the first one writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "tensor/memory.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/checkpoint_manifest.h"
#include "trainer/engine.h"

namespace headroom {

// What a checkpoint says beside the engine's tensors.
struct CheckpointText {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  CheckpointIdentity identity{};
  nlohmann::ordered_json state = nlohmann::ordered_json::object();
  nlohmann::ordered_json about = nlohmann::ordered_json::object();
  std::string config_toml{};
};

struct CheckpointReceipt {
  std::filesystem::path path;
  std::int64_t bytes = 0;      // on disk, all files
  double copy_seconds = 0.0;   // that the step waited for the copy; rank 0's
  double total_seconds = 0.0;  // from the copy to the end
  std::string trouble;         // with `latest` or older checkpoints, which does not touch this one; empty if none
};

// One a rank, for the whole run. All calls but `busy` and `ready` are collective. The engine and the mesh outlive it.
class CheckpointWriter {
 public:
  // Takes the host memory for a copy. Throws ExitCode::out_of_memory.
  CheckpointWriter(CheckpointDirectory directory, Engine& engine, const Mesh& mesh, Retention retention);
  // Waits for the thread; what was not finished stays partial.
  ~CheckpointWriter() = default;
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Bytes of the copy on this rank.
  std::int64_t copy_bytes() const;

  // Copies and starts writing. Not while `busy`. Throws ExitCode::disk_full on every rank when the directory cannot be
  // made; nothing is under way then.
  void begin(CheckpointText text);

  // From `begin` until `advance` returns the receipt or throws.
  bool busy() const { return stage_ != Stage::idle; }
  // Whether this rank's thread has nothing to do just now; never waits.
  bool ready() const;

  // For when every rank is ready (it waits otherwise): takes the next step towards the end. Returns the receipt when
  // the checkpoint is complete. Throws ExitCode::disk_full on every rank when a file could not be written; nothing is
  // under way then, the partial checkpoint is gone and older ones are as they were.
  std::optional<CheckpointReceipt> advance();

  // Waits for the end: the receipt, or what `advance` throws.
  CheckpointReceipt finish();

 private:
  enum class Stage : std::uint8_t { idle, writing, publishing };
  // Part of the rank's state in host memory.
  struct Copy {
    std::string kind;             // the group of its datasets
    std::vector<Tensor> sources;  // one after another
    Buffer memory;
    Tensor host;  // flat, in the order of the optimizer state
  };

  std::string write_rank_file() const;
  std::string publish(const std::vector<std::string>& parts) const;

  CheckpointDirectory directory_;
  const ParameterStore* store_;
  const Mesh* mesh_;
  Retention retention_;
  DType stored_;  // f32 or f64
  std::vector<ShardPiece> pieces_;
  std::vector<Copy> copies_;
  CheckpointText text_;
  Stage stage_ = Stage::idle;
  Stopwatch begun_;
  double copy_seconds_ = 0.0;
  std::future<std::string> work_;  // last: its thread uses the others
};

}  // namespace headroom
