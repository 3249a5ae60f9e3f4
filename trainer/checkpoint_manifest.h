// manifest.json: what a checkpoint holds and where, written last. It names every file with its size and hash, every
// stretch of numbers in them with a hash of its own, and every logical tensor with the rectangles it is made of, so
// that any layout finds what it needs and damage is found by name. The form is described in docs/checkpoint-format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "trainer/checkpoint_pieces.h"

namespace headroom {

// What is in a checkpoint is not what was written: another one may be whole. Not: a newer version, a disk that fails.
class DamagedCheckpoint : public Error {
 public:
  explicit DamagedCheckpoint(const std::string& what)
      : Error(ExitCode::bad_checkpoint, what, "A run that goes on with --resume takes the checkpoint before it.") {}
};

// What a checkpoint belongs to. Loading refuses another model, corpus or tokenizer by name.
struct CheckpointIdentity {
  std::string config;  // fingerprint of the keys that influence what is computed
  std::string train;   // fingerprints of both splits of the corpus, and of its tokenizer
  std::string valid;
  std::string tokenizer;
  std::string commit;  // of the program

  bool operator==(const CheckpointIdentity&) const = default;
};

struct Manifest {
  static constexpr int kVersion = 3;

  // A stretch of a file that holds one dataset's numbers.
  struct Stretch {
    std::string dataset;  // "weights/layers.3.attention.q.weight"
    std::int64_t begin = 0;
    std::int64_t bytes = 0;
    std::string hash;
  };
  struct File {
    std::string name;
    std::int64_t bytes = 0;
    std::string hash;  // of the whole file
    std::vector<Stretch> stretches{};
  };
  // A rectangle of a tensor: elements [begin, begin + place.elements()) of the tensor's dataset in a file.
  struct Piece {
    std::int64_t file = 0;
    std::int64_t begin = 0;
    Rectangle place;
  };
  struct Tensor {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<Piece> pieces{};

    std::int64_t elements() const;
  };

  std::int64_t step = 0;
  std::int64_t tokens = 0;
  std::string layout;  // "2x1" (data x tensor) of the run that wrote it; only told, never checked
  std::string dtype;   // the model's
  std::string stored;  // the files': "f32" or "f64"
  CheckpointIdentity identity;
  nlohmann::ordered_json state =
      nlohmann::ordered_json::object();  // the training loop's own (trainer/training_state.h)
  nlohmann::ordered_json about = nlohmann::ordered_json::object();  // provenance, for people
  std::vector<std::string> kinds;  // groups of datasets: "weights", "first_moment", "second_moment"
  std::vector<File> files;
  std::vector<Tensor> tensors;
};

// A file's entry, as ranks tell it to one another and as the manifest holds it. The reader throws nlohmann's
// exceptions, and ExitCode::bad_checkpoint for what is no whole number.
nlohmann::ordered_json to_json(const Manifest::File& file);
Manifest::File file_of(const nlohmann::ordered_json& json);

// The manifest as text; parse_manifest gives it back.
std::string to_text(const Manifest& manifest);

// Throws DamagedCheckpoint naming `path` and what is wrong: no manifest, a changed byte, or numbers that contradict
// each other; ExitCode::bad_checkpoint for another version. What it returns is consistent: every piece lies in its
// tensor and names a file, and every tensor is covered.
Manifest parse_manifest(std::string_view text, const std::filesystem::path& path);

// The same of checkpoint/manifest.json; DamagedCheckpoint when it is missing, ExitCode::bad_data when it cannot be
// read.
Manifest read_manifest(const std::filesystem::path& checkpoint);

}  // namespace headroom
