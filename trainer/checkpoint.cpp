#include "trainer/checkpoint.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/hdf5.h"
#include "tensor/transfer.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 2;

std::string rank_file(int rank) {
  return fmt::format("rank-{:05}.h5", rank);
}
std::string step_name(std::int64_t step) {
  return fmt::format("step-{:08}", step);
}

[[noreturn]] void refuse(const fs::path& path, const std::string& reason, const std::string& hint) {
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: {}", path.string(), reason), hint);
}

H5Dims dims_of(const Shape& shape) {
  H5Dims dims;
  for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
  return dims;
}

// Numbers go into the file as f32 or f64; a tensor kept in fewer bits says so in an attribute.
template <class T>
void write_as(H5File& file, const std::string& name, const Tensor& tensor) {
  const std::vector<T> numbers = download_as<T>(tensor);
  file.write<T>(name, std::span<const T>(numbers), dims_of(tensor.shape()));
  if (tensor.dtype() != dtype_of<T>()) file.set_attribute(name, "kept_as", std::string(name_of(tensor.dtype())));
}

void write_tensor(H5File& file, const std::string& name, const Tensor& tensor) {
  tensor.dtype() == DType::f64 ? write_as<double>(file, name, tensor) : write_as<float>(file, name, tensor);
}

template <class T>
void read_as(const H5File& file, const std::string& name, const Tensor& tensor) {
  const auto values = file.read<T>(name, dims_of(tensor.shape()));
  upload_as(std::span<const T>(values), tensor);
}

void read_tensor(const H5File& file, const std::string& name, const Tensor& tensor) {
  tensor.dtype() == DType::f64 ? read_as<double>(file, name, tensor) : read_as<float>(file, name, tensor);
}

// The rank's optimizer state: name in the file, tensor.
std::vector<std::pair<std::string, Tensor>> state_of(const AdamW& optimizer) {
  std::vector<std::pair<std::string, Tensor>> state = {{"moments/first", optimizer.first_moment()},
                                                       {"moments/second", optimizer.second_moment()}};
  if (optimizer.master().present()) state.emplace_back("master", optimizer.master());
  return state;
}

void write_rank(H5File& file, Engine& engine, bool with_parameters) {
  if (with_parameters) {
    for (const Parameter& parameter : engine.model().parameters().all()) {
      const std::string dataset = "parameters/" + parameter.name;
      write_tensor(file, dataset, parameter.value);
      file.set_attribute(dataset, "axis", std::int64_t{parameter.partition == Partition::columns});
      file.set_attribute(dataset, "first", parameter.first);
      file.set_attribute(dataset, "real", parameter.real);
      file.set_attribute(dataset, "extent", parameter.logical[parameter.partition == Partition::columns ? 1 : 0]);
    }
  }
  for (const auto& [name, tensor] : state_of(engine.optimizer())) write_tensor(file, name, tensor);
}

void read_rank(const fs::path& checkpoint, Engine& engine, const Mesh& mesh) {
  const H5File parameters = H5File::open(checkpoint / rank_file(mesh.tensor().rank()));
  for (const Parameter& parameter : engine.model().parameters().all()) {
    read_tensor(parameters, "parameters/" + parameter.name, parameter.value);
  }
  const H5File state = H5File::open(checkpoint / rank_file(mesh.world().rank()));
  for (const auto& [name, tensor] : state_of(engine.optimizer())) read_tensor(state, name, tensor);
}

struct ManifestFile {
  std::string name;
  std::uintmax_t bytes = 0;
};

struct Manifest {
  TrainingPosition position;
  Layout layout;
  std::string dtype;
  CheckpointIdentity identity;
  std::vector<ManifestFile> files;
};

json to_json(const Manifest& manifest) {
  json files = json::array();
  for (const ManifestFile& file : manifest.files) files.push_back({{"name", file.name}, {"bytes", file.bytes}});
  return {{"format", "headroom-checkpoint"},
          {"version", kVersion},
          {"step", manifest.position.step},
          {"tokens", manifest.position.tokens},
          {"data", manifest.layout.data},
          {"tensor", manifest.layout.tensor},
          {"dtype", manifest.dtype},
          {"config", manifest.identity.config_fingerprint},
          {"corpus", manifest.identity.corpus_fingerprint},
          {"commit", manifest.identity.commit},
          {"files", files}};
}

// Throws nlohmann's exceptions where a member is missing or of another type.
Manifest manifest_of(const json& parsed) {
  Manifest manifest{
      .position = {parsed.at("step").get<std::int64_t>(), parsed.at("tokens").get<std::int64_t>()},
      .layout = {parsed.at("data").get<int>(), parsed.at("tensor").get<int>()},
      .dtype = parsed.at("dtype").get<std::string>(),
      .identity = {parsed.at("config").get<std::string>(), parsed.at("corpus").get<std::string>(),
                   parsed.at("commit").get<std::string>()},
      .files = {},
  };
  for (const auto& file : parsed.at("files")) {
    manifest.files.push_back({file.at("name").get<std::string>(), file.at("bytes").get<std::uintmax_t>()});
  }
  return manifest;
}

// What to do about a damaged checkpoint: --resume takes the newest that there is.
std::string without(const fs::path& checkpoint) {
  return fmt::format("Remove {}; the run then goes on from the checkpoint before it.", checkpoint.string());
}

Manifest read_manifest(const fs::path& checkpoint) {
  const fs::path path = checkpoint / "manifest.json";
  std::ifstream stream(path);
  if (!stream) refuse(path, "cannot be read", without(checkpoint));
  const json parsed = json::parse(stream, nullptr, false);
  if (!parsed.is_object() || parsed.value("format", json()) != "headroom-checkpoint") {
    refuse(path, "is not a checkpoint's manifest", without(checkpoint));
  }
  if (parsed.value("version", json()) != kVersion) {
    refuse(path, fmt::format("has version {}, this program reads {}", parsed.value("version", json()).dump(), kVersion),
           "Use the program that wrote it.");
  }
  Manifest manifest;
  try {
    manifest = manifest_of(parsed);
  } catch (const json::exception& error) {
    refuse(path, fmt::format("is damaged: {}", error.what()), without(checkpoint));
  }
  for (const ManifestFile& file : manifest.files) {
    std::error_code error;
    const auto size = fs::file_size(checkpoint / file.name, error);
    if (error || size != file.bytes) {
      refuse(checkpoint / file.name,
             error ? "is missing" : fmt::format("has {} bytes, the manifest says {}", size, file.bytes),
             without(checkpoint));
    }
  }
  return manifest;
}

void expect_same(const fs::path& checkpoint, const char* what, const std::string& theirs, const std::string& ours,
                 const std::string& hint) {
  if (theirs != ours) refuse(checkpoint, fmt::format("was made with {} {}, this run has {}", what, theirs, ours), hint);
}

// Moves the whole new checkpoint to its place; an older one of the same step (a resumed run's) makes way by a rename.
void put_in_place(const fs::path& partial, const fs::path& target) {
  const fs::path old = fs::path(target).concat(".old");
  fs::remove_all(old);
  if (fs::exists(target)) fs::rename(target, old);
  fs::rename(partial, target);
  sync_directory(target.parent_path());
  fs::remove_all(old);
}

std::vector<fs::path> complete_checkpoints(const fs::path& directory) {
  std::vector<fs::path> found;
  if (!fs::is_directory(directory)) return found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && entry.path().extension().empty() && fs::exists(entry.path() / "manifest.json")) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

CheckpointReceipt save_checkpoint(const fs::path& directory, const TrainingPosition& position,
                                  const CheckpointIdentity& identity, Engine& engine, const Mesh& mesh,
                                  std::int64_t keep) {
  const auto begin = std::chrono::steady_clock::now();
  const fs::path final_path = directory / step_name(position.step);
  const fs::path partial = fs::path(final_path).concat(".partial");
  Communicator& world = mesh.world();
  if (world.rank() == 0) {
    fs::remove_all(partial);
    make_directories(partial);
  }
  world.barrier();

  H5File file = H5File::create(partial / rank_file(world.rank()));
  const DType dtype = engine.model().parameters().values().dtype();
  const bool with_parameters = mesh.data().rank() == 0;
  write_rank(file, engine, with_parameters);
  file.commit();
  auto bytes = static_cast<std::int64_t>(fs::file_size(partial / rank_file(world.rank())));
  world.all_reduce(std::span<std::int64_t>(&bytes, 1), Reduction::sum);  // also: every file is there

  if (world.rank() == 0) {
    Manifest manifest{position, mesh.layout(), std::string(name_of(dtype)), identity, {}};
    for (int rank = 0; rank < world.size(); ++rank) {
      manifest.files.push_back({rank_file(rank), fs::file_size(partial / rank_file(rank))});
    }
    write_file_atomically(partial / "manifest.json", to_json(manifest).dump(2) + "\n");
    put_in_place(partial, final_path);
    std::vector<fs::path> kept = complete_checkpoints(directory);
    for (std::size_t index = 0; index + static_cast<std::size_t>(keep) < kept.size(); ++index) {
      if (kept[index] != final_path) fs::remove_all(kept[index]);
    }
  }
  world.barrier();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {final_path, bytes, elapsed.count()};
}

std::optional<fs::path> latest_checkpoint(const fs::path& directory) {
  const std::vector<fs::path> complete = complete_checkpoints(directory);
  if (complete.empty()) return std::nullopt;
  return complete.back();
}

TrainingPosition load_checkpoint(const fs::path& checkpoint, const CheckpointIdentity& identity, Engine& engine,
                                 const Mesh& mesh) {
  const Manifest manifest = read_manifest(checkpoint);
  const Layout& layout = manifest.layout;
  if (layout != mesh.layout()) {
    refuse(checkpoint,
           fmt::format("was made at layout {}x{} (data x tensor), this run has {}x{}", layout.data, layout.tensor,
                       mesh.layout().data, mesh.layout().tensor),
           fmt::format("Resume with {} ranks and parallel.tensor = {}.", layout.ranks(), layout.tensor));
  }
  expect_same(checkpoint, "config", manifest.identity.config_fingerprint, identity.config_fingerprint,
              "Resume with the run's own config.toml; compare it with yours.");
  expect_same(checkpoint, "corpus", manifest.identity.corpus_fingerprint, identity.corpus_fingerprint,
              "Resume with the corpus it was trained on.");
  read_rank(checkpoint, engine, mesh);
  return manifest.position;
}

std::vector<LogicalTensor> read_parameters(const fs::path& checkpoint) {
  const Manifest manifest = read_manifest(checkpoint);
  const bool f64 = manifest.dtype == "f64";
  std::vector<LogicalTensor> tensors;
  for (int rank = 0; rank < manifest.layout.tensor; ++rank) {
    const H5File file = H5File::open(checkpoint / rank_file(rank));
    const std::vector<std::string> names = file.children("parameters");
    if (rank == 0) tensors.resize(names.size());
    for (std::size_t index = 0; index < names.size(); ++index) {
      const std::string dataset = "parameters/" + names[index];
      H5Dims dims = file.dims(dataset);
      std::vector<double> slice;
      if (f64) {
        slice = file.read<double>(dataset).values;
      } else {
        const std::vector<float> narrow = file.read<float>(dataset).values;
        slice.assign(narrow.begin(), narrow.end());
      }
      // Copy the slice's real part to its place: along rows one block, along columns a piece of every row.
      const auto axis = static_cast<std::size_t>(file.int_attribute(dataset, "axis"));
      const std::int64_t extent = file.int_attribute(dataset, "extent");
      const std::int64_t first = file.int_attribute(dataset, "first");
      const std::int64_t real = file.int_attribute(dataset, "real");
      const std::int64_t columns = dims.size() == 2 ? dims[1] : 1;
      const std::int64_t rows = axis == 0 ? real : dims[0];
      const std::int64_t width = axis == 0 ? columns : real;
      const std::int64_t logical_columns = axis == 0 ? columns : extent;
      LogicalTensor& tensor = tensors[index];
      tensor.name = names[index];
      tensor.values.resize(static_cast<std::size_t>((axis == 0 ? extent : dims[0]) * logical_columns));
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t to = axis == 0 ? (first + row) * logical_columns : row * logical_columns + first;
        std::copy_n(slice.begin() + row * columns, width, tensor.values.begin() + to);
      }
    }
  }
  return tensors;
}

}  // namespace headroom
