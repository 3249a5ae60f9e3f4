// HDF5 files as the rest of the program wants them: typed reads and writes that either happen or throw an Error naming
// the file, the object and HDF5's own explanation. Snapshots and checkpoints are made of these.
//
// A file being created lies beside its name as NAME.partial and gets its name in `commit()`; until then nobody sees
// it, and an object destroyed without `commit()` takes its partial file with it. Datasets are contiguous, unfiltered
// and never filled. The format is HDF5 1.10's, readable by h5py and h5dump of that age.
//
// Errors: ExitCode::disk_full when writing fails for want of space, permission or directory (at any call, `commit`
// included); ExitCode::bad_checkpoint when what is read is missing, foreign, truncated or of another type or shape.
// One thread at a time may use an object; several threads may use different ones (HDF5 is built thread-safe on Debian,
// which `create` checks).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace headroom {

// The numbers a dataset can hold.
enum class H5Type : std::uint8_t { f32, f64, i32, i64, u8, text, other };
std::string_view name_of(H5Type type);

template <class T>
constexpr H5Type h5_type_of() {
  if constexpr (std::is_same_v<T, float>) return H5Type::f32;
  if constexpr (std::is_same_v<T, double>) return H5Type::f64;
  if constexpr (std::is_same_v<T, std::int32_t>) return H5Type::i32;
  if constexpr (std::is_same_v<T, std::int64_t>) return H5Type::i64;
  if constexpr (std::is_same_v<T, std::uint8_t>) return H5Type::u8;
  return H5Type::other;
}

// Extents of a dataset, slowest first; empty for a single value.
using H5Dims = std::vector<std::int64_t>;

// Whether a finished file ends with a seal (base/seal.h). HDF5 and its readers do not mind the bytes behind its end.
enum class Sealing : std::uint8_t { none, sealed };

// A dataset read back whole.
template <class T>
struct H5Array {
  std::vector<T> values;
  H5Dims dims;
};

class H5File {
 public:
  // Begins `path`, writing to `path`.partial (an old partial file is replaced; missing parents are an error).
  static H5File create(const std::filesystem::path& path);
  // Opens for reading.
  static H5File open(const std::filesystem::path& path);

  ~H5File();
  H5File(H5File&&) noexcept;
  H5File& operator=(H5File&&) noexcept;

  const std::filesystem::path& path() const;

  // Closes, seals if told to, flushes to the disk itself (fsync) and renames NAME.partial to NAME. Nothing can be done
  // with the object after. Throws ExitCode::disk_full when the bytes did not all arrive; the partial file is then
  // removed.
  void commit(Sealing sealing = Sealing::none);

  // ---- objects: paths like "sites/block_output/rms"; groups on the way are made as needed when writing --------------
  void make_group(const std::string& group);
  bool contains(const std::string& object) const;
  // Names in a group, in alphabetical order.
  std::vector<std::string> children(const std::string& group) const;
  H5Dims dims(const std::string& dataset) const;
  H5Type type(const std::string& dataset) const;

  // ---- datasets ----------------------------------------------------------------------------------------------------
  // T is float, double, std::int32_t, std::int64_t or std::uint8_t, deduced from what is passed or named by the reader;
  // reading demands exactly the type that was written.

  // Creates `dataset` with all its values.
  template <class T>
  void write(const std::string& dataset, std::span<const T> values, const H5Dims& dims) {
    write_numbers(dataset, h5_type_of<T>(), values.data(), values.size(), dims);
  }
  template <class T>
  void write(const std::string& dataset, const std::vector<T>& values, const H5Dims& dims) {
    write(dataset, std::span<const T>(values), dims);
  }
  // Variable-length UTF-8. A NUL byte, which HDF5 strings cannot hold, is written as U+2400.
  void write_text(const std::string& dataset, std::span<const std::string> values, const H5Dims& dims);

  // Creates `dataset` without values, to be written in slabs. What is never written is unspecified.
  template <class T>
  void reserve(const std::string& dataset, const H5Dims& dims) {
    reserve_numbers(dataset, h5_type_of<T>(), dims);
  }
  // Values [offset, offset + count) along each axis of a dataset that exists.
  template <class T>
  void write_slab(const std::string& dataset, std::span<const T> values, const H5Dims& offset, const H5Dims& count) {
    write_numbers_slab(dataset, h5_type_of<T>(), values.data(), values.size(), offset, count);
  }

  // Creates `dataset` of type T without numbers of its own: it shows those of other files' datasets, which are one line
  // of numbers each; parts must not overlap. Reading it through h5py or h5dump needs the files beside this one: real
  // numbers of a file that is missing are NaN.
  struct Part {
    std::string file;     // relative to this file's directory
    std::string dataset;  // of shape [whole]
    std::int64_t whole = 0;
    std::int64_t begin = 0;  // where the part begins in it
    H5Dims offset;           // the place that it takes, row by row
    H5Dims count;
  };
  template <class T>
  void write_virtual(const std::string& dataset, const H5Dims& dims, std::span<const Part> parts) {
    write_virtual_numbers(dataset, h5_type_of<T>(), dims, parts);
  }
  // Where in the file a dataset's values begin, which lie there in one stretch. Throws ExitCode::internal for one that
  // has none.
  std::int64_t place_in_file(const std::string& dataset) const;

  template <class T>
  H5Array<T> read(const std::string& dataset) const {
    H5Array<T> array;
    array.dims = dims(dataset);
    array.values.resize(stored_elements(dataset, h5_type_of<T>(), array.dims));
    read_numbers(dataset, h5_type_of<T>(), array.values.data(), array.values.size());
    return array;
  }
  // The same, insisting on a shape.
  template <class T>
  std::vector<T> read(const std::string& dataset, const H5Dims& expected) const {
    expect_dims(dataset, expected);
    return read<T>(dataset).values;
  }
  template <class T>
  void read_slab(const std::string& dataset, std::span<T> values, const H5Dims& offset, const H5Dims& count) const {
    read_numbers_slab(dataset, h5_type_of<T>(), values.data(), values.size(), offset, count);
  }
  H5Array<std::string> read_text(const std::string& dataset) const;

  // ---- attributes of a group or dataset ("/" is the root)
  // ------------------------------------------------------------
  bool has_attribute(const std::string& object, const std::string& name) const;
  void set_attribute(const std::string& object, const std::string& name, const std::string& value);
  void set_attribute(const std::string& object, const std::string& name, std::int64_t value);
  void set_attribute(const std::string& object, const std::string& name, double value);
  void set_attribute(const std::string& object, const std::string& name, std::span<const double> values);
  std::string text_attribute(const std::string& object, const std::string& name) const;
  std::int64_t int_attribute(const std::string& object, const std::string& name) const;
  double real_attribute(const std::string& object, const std::string& name) const;
  std::vector<double> reals_attribute(const std::string& object, const std::string& name) const;

  // Throws ExitCode::bad_checkpoint unless `dataset` has exactly these extents.
  void expect_dims(const std::string& dataset, const H5Dims& expected) const;

 private:
  struct State;
  explicit H5File(std::unique_ptr<State> state);

  static std::size_t elements(const H5Dims& dims);
  // The same, refusing a damaged dataset that claims more values than its file holds bytes for.
  std::size_t stored_elements(const std::string& dataset, H5Type type, const H5Dims& dims) const;
  void reserve_numbers(const std::string& dataset, H5Type type, const H5Dims& dims);
  void write_virtual_numbers(const std::string& dataset, H5Type type, const H5Dims& dims, std::span<const Part> parts);
  void write_numbers(const std::string& dataset, H5Type type, const void* values, std::size_t size, const H5Dims& dims);
  void write_numbers_slab(const std::string& dataset, H5Type type, const void* values, std::size_t size,
                          const H5Dims& offset, const H5Dims& count);
  void read_numbers(const std::string& dataset, H5Type type, void* values, std::size_t size) const;
  void read_numbers_slab(const std::string& dataset, H5Type type, void* values, std::size_t size, const H5Dims& offset,
                         const H5Dims& count) const;

  std::unique_ptr<State> state_;
};

}  // namespace headroom
