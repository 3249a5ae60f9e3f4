#include "trainer/checkpoint_reader.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "base/activity.h"
#include "base/descriptor.h"
#include "base/file.h"
#include "base/file_hash.h"
#include "base/hash.h"
#include "base/hdf5.h"
#include "parallel/agreement.h"
#include "tensor/transfer.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& path, const std::string& reason) {
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: {}", path.string(), reason),
              "`headroom inspect` shows what the checkpoint holds.");
}

std::string hash_of_range(const Descriptor& file, const fs::path& path, std::int64_t begin, std::int64_t bytes) {
  std::uint64_t hash = 0;
  const int error = hash_range(file.get(), static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(bytes), hash);
  if (error != 0) throw_read_error(path, error);
  return hex_digits(hash);
}

// What of a file whose hash is wrong was changed: the tensors whose own hashes are wrong, or what lies between them.
std::string damaged_parts(const Descriptor& file, const fs::path& path, const Manifest::File& written) {
  std::vector<std::string> damaged;
  for (const Manifest::Stretch& stretch : written.stretches) {
    if (hash_of_range(file, path, stretch.begin, stretch.bytes) != stretch.hash) damaged.push_back(stretch.dataset);
  }
  if (damaged.empty()) return "is damaged outside its tensors";
  if (damaged.size() > 3) return fmt::format("is damaged in {} and {} more", damaged[0], damaged.size() - 1);
  return fmt::format("is damaged in {}", fmt::join(damaged, ", "));
}

// Empty when the file is as it was written. Throws ExitCode::bad_data when it cannot be read.
std::string damage_in(const fs::path& path, const Manifest::File& written) {
  const Activity activity("hash", path);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) return "is missing";
  if (!file) throw_read_error(path, errno);
  const auto size = static_cast<std::int64_t>(fs::file_size(path));
  if (size != written.bytes) return fmt::format("has {} bytes, the manifest says {}", size, written.bytes);
  return hash_of_range(file, path, 0, size) == written.hash ? "" : damaged_parts(file, path, written);
}

// A rectangle wanted, and where its numbers go: its first one at `begin`, its rows `stride` apart.
struct Wanted {
  std::size_t tensor;  // of the manifest
  Rectangle place;
  std::int64_t begin;
  std::int64_t stride;
};

// Reads the wanted rectangles of a kind, file by file. The manifest's tensors are covered (parse_manifest).
template <class Stored>
void read_wanted(const fs::path& checkpoint, const Manifest& manifest, const std::string& kind,
                 const std::vector<Wanted>& wanted, std::span<Stored> numbers) {
  struct Read {
    const Wanted* wanted;
    const Manifest::Piece* piece;
    Rectangle shared;
  };
  std::vector<std::vector<Read>> reads(manifest.files.size());
  for (const Wanted& one : wanted) {
    for (const Manifest::Piece& piece : manifest.tensors[one.tensor].pieces) {
      if (const auto shared = intersection(one.place, piece.place)) {
        reads[static_cast<std::size_t>(piece.file)].push_back({&one, &piece, *shared});
      }
    }
  }
  std::vector<Stored> rows;
  for (std::size_t index = 0; index < reads.size(); ++index) {
    if (reads[index].empty()) continue;
    const H5File file = H5File::open(checkpoint / manifest.files[index].name);
    for (const auto& [one, piece, shared] : reads[index]) {
      // Whole rows of the piece, one stretch of the file; of each the columns that are shared.
      const std::int64_t width = piece->place.columns;
      rows.resize(static_cast<std::size_t>(shared.rows * width));
      file.read_slab<Stored>(kind + "/" + manifest.tensors[one->tensor].name, std::span<Stored>(rows),
                             {piece->begin + (shared.row - piece->place.row) * width}, {std::ssize(rows)});
      for (std::int64_t row = 0; row < shared.rows; ++row) {
        const auto from = rows.begin() + row * width + (shared.column - piece->place.column);
        const std::int64_t to =
            one->begin + (shared.row + row - one->place.row) * one->stride + (shared.column - one->place.column);
        std::copy_n(from, shared.columns, numbers.begin() + to);
      }
    }
  }
}

std::vector<Wanted> wanted_by(const ParameterStore& store, const OptimizerShard& shard, const fs::path& checkpoint,
                              const Manifest& manifest) {
  std::map<std::string, std::size_t> tensors;
  for (std::size_t index = 0; index < manifest.tensors.size(); ++index) tensors[manifest.tensors[index].name] = index;
  for (const Parameter& parameter : store.all()) {
    const auto found = tensors.find(parameter.name);
    if (found == tensors.end()) refuse(checkpoint, fmt::format("has no tensor {}", parameter.name));
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < parameter.logical.rank(); ++axis) shape.push_back(parameter.logical[axis]);
    if (manifest.tensors[found->second].shape != shape) {
      refuse(checkpoint, fmt::format("{} has shape [{}], the model's has [{}]", parameter.name,
                                     fmt::join(manifest.tensors[found->second].shape, ", "), fmt::join(shape, ", ")));
    }
  }
  if (tensors.size() != store.all().size()) {
    refuse(checkpoint, fmt::format("has {} tensors, the model {}", tensors.size(), store.all().size()));
  }
  std::vector<Wanted> wanted;
  for (const ShardPiece& piece : pieces_of(store, shard)) {
    wanted.push_back({tensors.at(store[piece.parameter].name), piece.place, piece.state, piece.stride});
  }
  return wanted;
}

// The rank's shard of a kind, padding 0, in the order of the optimizer state; 0 where the checkpoint has no such kind,
// as a model from elsewhere has no moments.
template <class Stored>
std::vector<Stored> read_shard(const fs::path& checkpoint, const Manifest& manifest, const std::string& kind,
                               const std::vector<Wanted>& wanted, std::int64_t elements) {
  std::vector<Stored> numbers(static_cast<std::size_t>(elements), Stored{0});
  const bool there = std::find(manifest.kinds.begin(), manifest.kinds.end(), kind) != manifest.kinds.end();
  if (there) read_wanted<Stored>(checkpoint, manifest, kind, wanted, numbers);
  return numbers;
}

template <class Stored>
void load_shard(const fs::path& checkpoint, const Manifest& manifest, Engine& engine) {
  const ParameterStore& store = engine.model().parameters();
  const OptimizerShard& shard = engine.shard();
  const AdamW& optimizer = engine.optimizer();
  const std::vector<Wanted> wanted = wanted_by(store, shard, checkpoint, manifest);
  const auto read = [&](const char* kind) {
    return read_shard<Stored>(checkpoint, manifest, kind, wanted, shard.state_elements());
  };
  const auto upload_all = [&](const std::vector<Stored>& numbers, const Tensor& to) {
    upload_as(std::span<const Stored>(numbers), to);
  };
  upload_all(read("first_moment"), optimizer.first_moment());
  upload_all(read("second_moment"), optimizer.second_moment());
  const std::vector<Stored> weights = read("weights");
  if (optimizer.master().present()) upload_all(weights, optimizer.master());
  std::size_t begin = 0;
  for (const Bucket& bucket : store.buckets()) {
    const Bucket own = shard.slot(bucket);
    const auto count = static_cast<std::size_t>(own.size);
    upload_as(std::span<const Stored>(weights).subspan(begin, count), store.values().flat_range(own.offset, own.size));
    begin += count;
  }
}

}  // namespace

std::vector<std::string> damage_in(const fs::path& checkpoint, const Manifest& manifest, int rank, int ranks) {
  std::vector<std::string> found;
  for (std::size_t index = 0; index < manifest.files.size(); ++index) {
    if (static_cast<int>(index % static_cast<std::size_t>(ranks)) != rank) continue;
    const fs::path path = checkpoint / manifest.files[index].name;
    const std::string damage = damage_in(path, manifest.files[index]);
    if (!damage.empty()) found.push_back(fmt::format("{} {}", path.string(), damage));
  }
  return found;
}

VerifiedCheckpoint verify_checkpoint(const fs::path& checkpoint, Communicator& world) {
  // One rank reads the manifest and hands it round: a file system is not asked the same by a thousand ranks.
  constexpr char kWhole = '+';
  constexpr char kDamaged = '-';
  const std::string told = on_root(world, [&] {
    try {
      return kWhole + to_text(read_manifest(checkpoint));
    } catch (const DamagedCheckpoint& damaged) {
      return kDamaged + std::string(damaged.what());
    }
  });
  if (told.front() == kDamaged) return {{}, told.substr(1)};
  VerifiedCheckpoint verified{parse_manifest(std::string_view(told).substr(1), checkpoint / "manifest.json"), ""};
  std::vector<std::string> found;
  on_all(world, [&] { found = damage_in(checkpoint, verified.manifest, world.rank(), world.size()); });
  std::optional<Error> damage;
  if (!found.empty()) damage.emplace(ExitCode::bad_checkpoint, fmt::format("{}", fmt::join(found, "\n")));
  if (const std::optional<Error> first = first_failure(world, damage)) verified.damage = first->what();
  return verified;
}

std::vector<std::string> mismatches(const Manifest& manifest, const CheckpointIdentity& identity) {
  std::vector<std::string> found;
  const auto compare = [&](const char* what, const std::string& theirs, const std::string& ours) {
    if (!theirs.empty() && theirs != ours)
      found.push_back(fmt::format("it was made with {} {}, this run has {}", what, theirs, ours));
  };
  compare("config", manifest.identity.config, identity.config);
  compare("training corpus", manifest.identity.train, identity.train);
  compare("held-out corpus", manifest.identity.valid, identity.valid);
  compare("tokenizer", manifest.identity.tokenizer, identity.tokenizer);
  return found;
}

void load_tensors(const fs::path& checkpoint, const Manifest& manifest, Engine& engine, const Mesh& mesh) {
  on_all(mesh.world(), [&] {
    manifest.stored == "f64" ? load_shard<double>(checkpoint, manifest, engine)
                             : load_shard<float>(checkpoint, manifest, engine);
  });
  gather_parameters(engine.model().parameters(), engine.shard(), mesh);
}

std::vector<LogicalTensor> read_tensors(const fs::path& checkpoint, const Manifest& manifest, const std::string& kind) {
  std::vector<LogicalTensor> tensors;
  for (std::size_t index = 0; index < manifest.tensors.size(); ++index) {
    const Manifest::Tensor& tensor = manifest.tensors[index];
    const std::int64_t columns = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
    const std::vector<Wanted> whole = {{index, {0, 0, tensor.shape[0], columns}, 0, columns}};
    const auto read = [&]<class Stored>() {
      const std::vector<Stored> numbers = read_shard<Stored>(checkpoint, manifest, kind, whole, tensor.elements());
      return std::vector<double>(numbers.begin(), numbers.end());
    };
    tensors.push_back(
        {tensor.name, tensor.shape, manifest.stored == "f64" ? read.operator()<double>() : read.operator()<float>()});
  }
  return tensors;
}

void check_weights(const fs::path& checkpoint, const Manifest& manifest, std::size_t tensor) {
  const std::string dataset = "weights/" + manifest.tensors[tensor].name;
  std::set<std::int64_t> files;
  for (const Manifest::Piece& piece : manifest.tensors[tensor].pieces) files.insert(piece.file);
  for (const std::int64_t index : files) {
    const Manifest::File& file = manifest.files[static_cast<std::size_t>(index)];
    const fs::path path = checkpoint / file.name;
    const Activity activity("hash", path);
    const Descriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened && errno == ENOENT) refuse(path, "is missing");
    if (!opened) throw_read_error(path, errno);
    for (const Manifest::Stretch& stretch : file.stretches) {
      if (stretch.dataset != dataset) continue;
      if (hash_of_range(opened, path, stretch.begin, stretch.bytes) == stretch.hash) continue;
      throw DamagedCheckpoint(fmt::format("{} is damaged in {}", path.string(), dataset));
    }
  }
}

void read_weights(const fs::path& checkpoint, const Manifest& manifest, std::size_t tensor, const Rectangle& place,
                  float* to) {
  const std::vector<Wanted> wanted = {{tensor, place, 0, place.columns}};
  if (manifest.stored == "f32") {
    read_wanted<float>(checkpoint, manifest, "weights", wanted, {to, static_cast<std::size_t>(place.elements())});
  } else {
    const std::vector<double> numbers = read_shard<double>(checkpoint, manifest, "weights", wanted, place.elements());
    std::copy(numbers.begin(), numbers.end(), to);
  }
}

}  // namespace headroom
