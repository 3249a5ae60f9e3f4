#include "base/hdf5_state.h"

#include <algorithm>
#include <system_error>

#include "base/activity.h"

namespace headroom {
namespace {

std::vector<hsize_t> extents(const H5Dims& dims) {
  return {dims.begin(), dims.end()};
}

}  // namespace

namespace hdf5 {

void silence_error_stack() {
  thread_local const bool silenced = [] { return H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0; }();
  HEADROOM_CHECK(silenced, "HDF5 does not take an error handler");
}

std::string error_stack() {
  std::string text;
  const auto append = [](unsigned /*depth*/, const H5E_error2_t* entry, void* out) -> herr_t {
    auto& all = *static_cast<std::string*>(out);
    if (entry->desc != nullptr && *entry->desc != '\0') all += (all.empty() ? "" : "; ") + std::string(entry->desc);
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, append, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "no details" : text;
}

hid_t memory_type(H5Type type) {
  switch (type) {
    case H5Type::f32:
      return H5T_NATIVE_FLOAT;
    case H5Type::f64:
      return H5T_NATIVE_DOUBLE;
    case H5Type::i32:
      return H5T_NATIVE_INT32;
    case H5Type::i64:
      return H5T_NATIVE_INT64;
    case H5Type::u8:
      return H5T_NATIVE_UINT8;
    case H5Type::text:
    case H5Type::other:
      break;
  }
  HEADROOM_CHECK(false, "HDF5 numbers of type {}", name_of(type));
  return -1;
}

Handle text_type() {
  const hid_t id = H5Tcopy(H5T_C_S1);
  H5Tset_size(id, H5T_VARIABLE);
  H5Tset_cset(id, H5T_CSET_UTF8);
  return {id, H5Tclose};
}

H5Type classify(hid_t id) {
  const std::size_t size = H5Tget_size(id);
  switch (H5Tget_class(id)) {
    case H5T_FLOAT:
      return size == 4 ? H5Type::f32 : size == 8 ? H5Type::f64 : H5Type::other;
    case H5T_INTEGER:
      if (H5Tget_sign(id) == H5T_SGN_2) return size == 4 ? H5Type::i32 : size == 8 ? H5Type::i64 : H5Type::other;
      return size == 1 ? H5Type::u8 : H5Type::other;
    case H5T_STRING:
      return H5Tis_variable_str(id) > 0 ? H5Type::text : H5Type::other;
    default:
      return H5Type::other;
  }
}

Handle space_of(const H5Dims& dims) {
  if (dims.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const auto sizes = extents(dims);
  return {H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr), H5Sclose};
}

H5Dims dims_of(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> sizes(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  return {sizes.begin(), sizes.end()};
}

std::string text_of(const H5Dims& dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

std::string without_nul(const std::string& text) {
  std::string out;
  for (const char letter : text) out += letter == '\0' ? std::string("\u2400") : std::string(1, letter);
  return out;
}

std::string error_text(int error_number) {
  return std::generic_category().message(error_number);
}

}  // namespace hdf5

using hdf5::Handle;

void H5File::State::discard() {
  const Activity activity("close", working);
  if (file >= 0) H5Fclose(file);
  file = -1;
  H5Eclear2(H5E_DEFAULT);
  std::error_code ignored;
  if (writing) std::filesystem::remove(working, ignored);
}

void H5File::State::fail(const std::string& operation, const std::string& object) const {
  const std::string place = object.empty() ? "" : fmt::format(" `{}`", object);
  if (writing && failure.error_number != 0) {
    throw Error(ExitCode::disk_full,
                fmt::format("{}: cannot {}{}: {} failed: {}", working.string(), operation, place, failure.operation,
                            hdf5::error_text(failure.error_number)),
                "Free space in that directory (or fix its permissions) and run again; no finished file was touched.");
  }
  throw Error(writing ? ExitCode::internal : ExitCode::bad_checkpoint,
              fmt::format("{}: cannot {}{}: HDF5 says: {}", path.string(), operation, place, hdf5::error_stack()),
              writing ? "" : "The file is damaged or not what was expected: use another copy, or make it again.");
}

void H5File::State::written(bool succeeded, const std::string& operation, const std::string& object) const {
  if (!succeeded || failure.error_number != 0) fail(operation, object);
}

void H5File::State::expect_writing() const {
  HEADROOM_CHECK(writing && file >= 0, "{} is not open for writing", path.string());
  hdf5::silence_error_stack();
}

void H5File::State::expect_open() const {
  HEADROOM_CHECK(file >= 0, "{} is closed", path.string());
  hdf5::silence_error_stack();
}

Handle H5File::State::dataset(const std::string& name) const {
  expect_open();
  const Activity activity("read", working);
  Handle handle(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!handle.valid()) fail("find the dataset", name);
  return handle;
}

Handle H5File::State::typed_dataset(const std::string& name, H5Type wanted) const {
  Handle handle = dataset(name);
  const Handle type(H5Dget_type(handle.get()), H5Tclose);
  expect_type(name, hdf5::classify(type.get()), wanted);
  return handle;
}

void H5File::State::expect_type(const std::string& object, H5Type found, H5Type wanted) const {
  if (found == wanted) return;
  throw Error(writing ? ExitCode::internal : ExitCode::bad_checkpoint,
              fmt::format("{}: `{}` holds {}, expected {}", path.string(), object, name_of(found), name_of(wanted)));
}

Handle H5File::State::make_dataset(const std::string& name, hid_t type, const H5Dims& dims, bool fill) const {
  expect_writing();
  const Activity activity("write", working);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  if (!fill) H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);
  const Handle space = hdf5::space_of(dims);
  const hid_t id = H5Dcreate2(file, name.c_str(), type, space.get(), links.get(), creation.get(), H5P_DEFAULT);
  if (id < 0) fail("create the dataset", name);
  return {id, H5Dclose};
}

Handle H5File::State::slab(hid_t dataset_id, const std::string& name, const H5Dims& offset, const H5Dims& count) const {
  Handle space(H5Dget_space(dataset_id), H5Sclose);
  const H5Dims dims = hdf5::dims_of(space.get());
  bool fits = offset.size() == dims.size() && count.size() == dims.size();
  for (std::size_t axis = 0; fits && axis < dims.size(); ++axis) {
    fits = offset[axis] >= 0 && count[axis] >= 0 && offset[axis] + count[axis] <= dims[axis];
  }
  if (!fits) {
    throw Error(writing ? ExitCode::internal : ExitCode::bad_checkpoint,
                fmt::format("{}: `{}` has shape {}; there is no slab {} at {}", path.string(), name,
                            hdf5::text_of(dims), hdf5::text_of(count), hdf5::text_of(offset)));
  }
  const auto start = extents(offset);
  const auto size = extents(count);
  if (!dims.empty()) {
    H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr);
  }
  return space;
}

Handle H5File::State::attribute(const std::string& object, const std::string& name, H5Type wanted) const {
  expect_open();
  const Activity activity("read", working);
  const std::string place = object + "@" + name;
  Handle handle(H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!handle.valid()) fail("find the attribute", place);
  const Handle type(H5Aget_type(handle.get()), H5Tclose);
  expect_type(place, hdf5::classify(type.get()), wanted);
  return handle;
}

void H5File::State::set_attribute(const std::string& object, const std::string& name, hid_t type, const void* value,
                                  const H5Dims& dims) const {
  expect_writing();
  const Activity activity("write", working);
  const Handle space = hdf5::space_of(dims);
  const Handle handle(
      H5Acreate_by_name(file, object.c_str(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  written(handle.valid() && H5Awrite(handle.get(), type, value) >= 0, "write the attribute", object + "@" + name);
}

}  // namespace headroom
