#include "trainer/checkpoint.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/hdf5.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 1;

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

template <class T>
void write_tensor(H5File& file, const std::string& name, const Tensor& tensor) {
  file.write<T>(name, std::span<const T>(tensor.span<T>()), dims_of(tensor.shape()));
}

template <class T>
void read_tensor(const H5File& file, const std::string& name, const Tensor& tensor) {
  const std::vector<T> values = file.read<T>(name, dims_of(tensor.shape()));
  std::copy(values.begin(), values.end(), tensor.data<T>());
}

// One rank's part: its slices of the parameters (once a tensor rank) and its optimizer shard.
template <class T>
void write_rank(H5File& file, Engine& engine, bool with_parameters) {
  if (with_parameters) {
    for (const Parameter& parameter : engine.model().parameters().all()) {
      const std::string dataset = "parameters/" + parameter.name;
      write_tensor<T>(file, dataset, parameter.value);
      file.set_attribute(dataset, "axis", std::int64_t{parameter.partition == Partition::columns});
      file.set_attribute(dataset, "first", parameter.first);
      file.set_attribute(dataset, "real", parameter.real);
      file.set_attribute(dataset, "extent", parameter.logical[parameter.partition == Partition::columns ? 1 : 0]);
    }
  }
  write_tensor<T>(file, "moments/first", engine.optimizer().first_moment());
  write_tensor<T>(file, "moments/second", engine.optimizer().second_moment());
}

template <class T>
void read_rank(const fs::path& checkpoint, Engine& engine, const Mesh& mesh) {
  const H5File parameters = H5File::open(checkpoint / rank_file(mesh.tensor().rank()));
  for (const Parameter& parameter : engine.model().parameters().all()) {
    read_tensor<T>(parameters, "parameters/" + parameter.name, parameter.value);
  }
  const H5File moments = H5File::open(checkpoint / rank_file(mesh.world().rank()));
  read_tensor<T>(moments, "moments/first", engine.optimizer().first_moment());
  read_tensor<T>(moments, "moments/second", engine.optimizer().second_moment());
}

json read_manifest(const fs::path& checkpoint) {
  const fs::path path = checkpoint / "manifest.json";
  std::ifstream stream(path);
  if (!stream) refuse(path, "cannot be read", "The checkpoint is incomplete; use an earlier one.");
  json manifest = json::parse(stream, nullptr, false);
  if (manifest.is_discarded() || manifest.value("format", "") != "headroom-checkpoint") {
    refuse(path, "is not a checkpoint's manifest", "The file is damaged or foreign; use an earlier checkpoint.");
  }
  if (manifest.value("version", 0) != kVersion) {
    refuse(path, fmt::format("has version {}, this program reads {}", manifest.value("version", 0), kVersion),
           "Use the program that wrote it.");
  }
  for (const json& file : manifest.at("files")) {
    const fs::path part = checkpoint / file.at("name").get<std::string>();
    std::error_code error;
    const auto size = fs::file_size(part, error);
    if (error || size != file.at("bytes").get<std::uintmax_t>()) {
      refuse(part,
             error ? "is missing" : fmt::format("has {} bytes, the manifest says {}", size, file.at("bytes").dump()),
             "The checkpoint is damaged; use an earlier one.");
    }
  }
  return manifest;
}

void expect_same(const fs::path& checkpoint, const json& manifest, const char* key, const std::string& ours,
                 const std::string& hint) {
  const auto theirs = manifest.at(key).get<std::string>();
  if (theirs != ours) refuse(checkpoint, fmt::format("was made with {} {}, this run has {}", key, theirs, ours), hint);
}

std::vector<fs::path> complete_checkpoints(const fs::path& directory) {
  std::vector<fs::path> found;
  if (!fs::is_directory(directory)) return found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && entry.path().extension() != ".partial" &&
        fs::exists(entry.path() / "manifest.json")) {
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
    fs::create_directories(partial);
  }
  world.barrier();

  H5File file = H5File::create(partial / rank_file(world.rank()));
  const DType dtype = engine.model().parameters().values().dtype();
  const bool with_parameters = mesh.data().rank() == 0;
  dtype == DType::f64 ? write_rank<double>(file, engine, with_parameters)
                      : write_rank<float>(file, engine, with_parameters);
  file.commit();
  auto bytes = static_cast<std::int64_t>(fs::file_size(partial / rank_file(world.rank())));
  world.all_reduce(std::span<std::int64_t>(&bytes, 1), Reduction::sum);  // also: every file is there

  if (world.rank() == 0) {
    json manifest = {{"format", "headroom-checkpoint"},
                     {"version", kVersion},
                     {"step", position.step},
                     {"tokens", position.tokens},
                     {"data", mesh.layout().data},
                     {"tensor", mesh.layout().tensor},
                     {"dtype", name_of(dtype)},
                     {"config", identity.config_fingerprint},
                     {"corpus", identity.corpus_fingerprint},
                     {"commit", identity.commit},
                     {"files", json::array()}};
    for (int rank = 0; rank < world.size(); ++rank) {
      manifest["files"].push_back({{"name", rank_file(rank)}, {"bytes", fs::file_size(partial / rank_file(rank))}});
    }
    write_file_atomically(partial / "manifest.json", manifest.dump(2) + "\n");
    // Saving the same step again (a resumed run's last step) replaces the earlier one only now.
    fs::remove_all(final_path);
    fs::rename(partial, final_path);
    std::vector<fs::path> kept = complete_checkpoints(directory);
    for (std::size_t index = 0; index + static_cast<std::size_t>(keep) < kept.size(); ++index) {
      fs::remove_all(kept[index]);
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
  const json manifest = read_manifest(checkpoint);
  const int data = manifest.at("data").get<int>();
  const int tensor = manifest.at("tensor").get<int>();
  if (Layout{data, tensor} != mesh.layout()) {
    refuse(checkpoint,
           fmt::format("was made at layout {}x{} (data x tensor), this run has {}x{}", data, tensor, mesh.layout().data,
                       mesh.layout().tensor),
           fmt::format("Resume with {} ranks and parallel.tensor = {}.", data * tensor, tensor));
  }
  expect_same(checkpoint, manifest, "config", identity.config_fingerprint,
              "Resume with the run's own config.toml; compare it with yours.");
  expect_same(checkpoint, manifest, "corpus", identity.corpus_fingerprint, "Resume with the corpus it was trained on.");
  engine.model().parameters().values().dtype() == DType::f64 ? read_rank<double>(checkpoint, engine, mesh)
                                                             : read_rank<float>(checkpoint, engine, mesh);
  return {manifest.at("step").get<std::int64_t>(), manifest.at("tokens").get<std::int64_t>()};
}

std::vector<LogicalTensor> read_parameters(const fs::path& checkpoint) {
  const json manifest = read_manifest(checkpoint);
  const bool f64 = manifest.at("dtype") == "f64";
  std::vector<LogicalTensor> tensors;
  for (int rank = 0; rank < manifest.at("tensor").get<int>(); ++rank) {
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
