#include "trainer/checkpoint_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>

#include "base/descriptor.h"
#include "base/file.h"
#include "base/file_hash.h"
#include "base/hash.h"
#include "base/hdf5.h"

namespace headroom {
namespace {

constexpr const char* kWholeTensors = "tensors.h5";
constexpr const char* kConfig = "config.toml";

// tensors.h5: whole tensors, put together from the ranks' files.
template <class Stored>
void write_whole_tensors(const std::filesystem::path& path, const Manifest& manifest) {
  H5File file = H5File::create(path);
  for (const std::string& kind : manifest.kinds) {
    for (const Manifest::Tensor& tensor : manifest.tensors) {
      const std::string dataset = kind + "/" + tensor.name;
      std::map<std::int64_t, std::int64_t> lengths;  // of the dataset in each file
      for (const Manifest::Piece& piece : tensor.pieces) lengths[piece.file] += piece.place.elements();
      std::vector<H5File::Part> parts;
      for (const Manifest::Piece& piece : tensor.pieces) {
        const Rectangle& place = piece.place;
        parts.push_back({.file = manifest.files[static_cast<std::size_t>(piece.file)].name,
                         .dataset = dataset,
                         .whole = lengths[piece.file],
                         .begin = piece.begin,
                         .offset = {place.row, place.column},
                         .count = {place.rows, place.columns}});
        parts.back().offset.resize(tensor.shape.size());
        parts.back().count.resize(tensor.shape.size());
      }
      file.write_virtual<Stored>(dataset, tensor.shape, parts);
    }
  }
  file.commit();
}

}  // namespace

std::string rank_file(int rank) {
  return fmt::format("rank-{:05}.h5", rank);
}

Manifest::File read_back(const std::filesystem::path& path, std::vector<Manifest::Stretch> stretches) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) throw_write_error(path, "read back", errno);
  const auto hash = [&](std::int64_t begin, std::int64_t bytes) {
    std::uint64_t found = 0;
    const int error =
        hash_range(file.get(), static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(bytes), found);
    if (error != 0) throw_write_error(path, "read back", error);
    return hex_digits(found);
  };
  for (const Manifest::Stretch& stretch : stretches) {
    if (hash(stretch.begin, stretch.bytes) == stretch.hash) continue;
    throw Error(ExitCode::disk_full,
                fmt::format("{}: {} reads back other than it was written", path.string(), stretch.dataset),
                "Check the disk, or choose another place for the output.");
  }
  return {path.filename().string(), status.st_size, hash(0, status.st_size), std::move(stretches)};
}

std::int64_t complete_files(const std::filesystem::path& directory, Manifest manifest, const std::string& config_toml) {
  manifest.stored == "f64" ? write_whole_tensors<double>(directory / kWholeTensors, manifest)
                           : write_whole_tensors<float>(directory / kWholeTensors, manifest);
  write_file_atomically(directory / kConfig, config_toml);
  manifest.files.push_back(read_back(directory / kWholeTensors, {}));
  manifest.files.push_back(read_back(directory / kConfig, {}));
  const std::string text = to_text(manifest);
  write_file_atomically(directory / "manifest.json", text);
  std::int64_t bytes = std::ssize(text);
  for (const Manifest::File& file : manifest.files) bytes += file.bytes;
  return bytes;
}

}  // namespace headroom
