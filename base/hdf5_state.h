// The inside of base/hdf5.h: HDF5's handles, the translation of its types and errors, and what an H5File knows.
// Included by the wrapper's own sources only.
#pragma once

#include <hdf5.h>

#include <filesystem>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hdf5.h"
#include "base/hdf5_driver.h"

namespace headroom {
namespace hdf5 {

static_assert(std::is_same_v<hid_t, std::int64_t>, "HDF5 1.10 or later");

// An HDF5 object with the function that closes it.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// HDF5 prints its error stack to stderr unless told not to; the stack goes into our exceptions instead.
void silence_error_stack();
// The stack from the outermost call inwards, one line; empties it.
std::string error_stack();
std::string error_text(int error_number);

hid_t memory_type(H5Type type);
Handle text_type();
H5Type classify(hid_t id);

Handle space_of(const H5Dims& dims);
H5Dims dims_of(hid_t space);
std::string text_of(const H5Dims& dims);

// HDF5's strings end at a NUL byte: the picture of one stands for it.
std::string without_nul(const std::string& text);

}  // namespace hdf5

struct H5File::State {
  std::filesystem::path path;     // the name the file has or will have
  std::filesystem::path working;  // where the bytes are
  hid_t file = -1;
  bool writing = false;
  WriteFailure failure;

  State() = default;
  ~State() { discard(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Closes; of a file that was being written nothing remains.
  void discard();

  // Throws for what went wrong: a failed write with its errno, or what HDF5's stack says.
  [[noreturn]] void fail(const std::string& operation, const std::string& object) const;
  // What every writing call ends with.
  void written(bool succeeded, const std::string& operation, const std::string& object) const;

  void expect_writing() const;
  void expect_open() const;
  void expect_type(const std::string& object, H5Type found, H5Type wanted) const;

  hdf5::Handle dataset(const std::string& name) const;
  hdf5::Handle typed_dataset(const std::string& name, H5Type wanted) const;
  // Makes a dataset with the groups above it, contiguous; `fill`: with fill values, which strings need.
  hdf5::Handle make_dataset(const std::string& name, hid_t type, const H5Dims& dims, bool fill) const;
  // The dataset's space with the slab selected; throws naming both shapes when it does not fit.
  hdf5::Handle slab(hid_t dataset_id, const std::string& name, const H5Dims& offset, const H5Dims& count) const;

  hdf5::Handle attribute(const std::string& object, const std::string& name, H5Type wanted) const;
  void set_attribute(const std::string& object, const std::string& name, hid_t type, const void* value,
                     const H5Dims& dims) const;
  // The value of a single-number attribute.
  template <class T>
  T single(const std::string& object, const std::string& name) const {
    const hdf5::Handle handle = attribute(object, name, h5_type_of<T>());
    const hdf5::Handle space(H5Aget_space(handle.get()), H5Sclose);
    if (H5Sget_simple_extent_npoints(space.get()) != 1) fail("read as one number the attribute", object + "@" + name);
    T value = {};
    if (H5Aread(handle.get(), hdf5::memory_type(h5_type_of<T>()), &value) < 0) {
      fail("read the attribute", object + "@" + name);
    }
    return value;
  }
};

}  // namespace headroom
