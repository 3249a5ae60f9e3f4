// Loading a checkpoint at any layout: each rank looks up which stored rectangles its optimizer shard needs, reads
// those, and the data ranks give each other the weights as they do after a step. What the number of ranks was when it
// was written is never asked.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "trainer/checkpoint_manifest.h"
#include "trainer/engine.h"

namespace headroom {

// What is wrong with a checkpoint's files, in words that name file and tensor; empty when every byte is as it was
// written. Reads them all, or the share of one of `ranks` readers. Throws ExitCode::bad_data for what cannot be read.
std::vector<std::string> damage_in(const std::filesystem::path& checkpoint, const Manifest& manifest, int rank = 0,
                                   int ranks = 1);

// A checkpoint's manifest, and what is wrong with it or its files; empty when every byte is as it was written. Ranks
// share the reading. Collective, the same on every rank. Throws, on every rank, for what is no damage:
// ExitCode::bad_checkpoint for another version, ExitCode::bad_data for a disk that cannot be read.
struct VerifiedCheckpoint {
  Manifest manifest;
  std::string damage;
};
VerifiedCheckpoint verify_checkpoint(const std::filesystem::path& checkpoint, Communicator& world);

// In what respects a checkpoint belongs to another model, corpus or tokenizer, each in words; empty when it does not.
// What its manifest leaves empty is not known of it.
std::vector<std::string> mismatches(const Manifest& manifest, const CheckpointIdentity& identity);

// Fills weights and moments of an engine of any layout; moments with 0 where the checkpoint has none. Collective.
// Throws ExitCode::bad_checkpoint on every rank, naming file and tensor: missing, of another shape, unreadable.
void load_tensors(const std::filesystem::path& checkpoint, const Manifest& manifest, Engine& engine, const Mesh& mesh);

// Every logical tensor of a kind ("weights", "first_moment", "second_moment"), whole, as float64; for comparisons.
struct LogicalTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};
std::vector<LogicalTensor> read_tensors(const std::filesystem::path& checkpoint, const Manifest& manifest,
                                        const std::string& kind);

// Throws ExitCode::bad_checkpoint naming file and tensor where the bytes of one tensor's weights are not those that
// were written. `tensor` counts the manifest's.
void check_weights(const std::filesystem::path& checkpoint, const Manifest& manifest, std::size_t tensor);

// A rectangle of one tensor's weights, row by row, as f32; `tensor` counts the manifest's. Throws
// ExitCode::bad_checkpoint naming file and tensor for what cannot be read.
void read_weights(const std::filesystem::path& checkpoint, const Manifest& manifest, std::size_t tensor,
                  const Rectangle& place, float* to);

}  // namespace headroom
