#include "base/hdf5.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <limits>
#include <system_error>

#include "base/activity.h"
#include "base/file.h"
#include "base/hdf5_state.h"
#include "base/seal.h"

namespace headroom {

using hdf5::dims_of;
using hdf5::Handle;
using hdf5::memory_type;
using hdf5::space_of;
using hdf5::text_of;
using hdf5::text_type;

std::string_view name_of(H5Type type) {
  switch (type) {
    case H5Type::f32:
      return "float32";
    case H5Type::f64:
      return "float64";
    case H5Type::i32:
      return "int32";
    case H5Type::i64:
      return "int64";
    case H5Type::u8:
      return "uint8";
    case H5Type::text:
      return "string";
    case H5Type::other:
      break;
  }
  return "another type";
}

H5File::H5File(std::unique_ptr<State> state) : state_(std::move(state)) {}
H5File::~H5File() = default;
H5File::H5File(H5File&&) noexcept = default;
H5File& H5File::operator=(H5File&&) noexcept = default;

const std::filesystem::path& H5File::path() const {
  return state_->path;
}

H5File H5File::create(const std::filesystem::path& path) {
  hbool_t thread_safe = false;
  H5is_library_threadsafe(&thread_safe);
  HEADROOM_CHECK(thread_safe, "this HDF5 is not built thread-safe, and checkpoints are written beside the training");
  hdf5::silence_error_stack();
  auto state = std::make_unique<State>();
  state->path = path;
  state->working = path.string() + ".partial";
  state->writing = true;
  const Activity activity("create", state->working);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  use_recording_driver(access.get(), &state->failure);
  state->file = H5Fcreate(state->working.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
  state->written(state->file >= 0, "create the file", "");
  return H5File(std::move(state));
}

H5File H5File::open(const std::filesystem::path& path) {
  hdf5::silence_error_stack();
  auto state = std::make_unique<State>();
  state->path = state->working = path;
  const Activity activity("open", state->working);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("{}: cannot open: {}", path.string(), hdf5::error_text(errno)));
  }
  ::close(descriptor);
  if (H5Fis_hdf5(path.c_str()) <= 0) {
    H5Eclear2(H5E_DEFAULT);
    throw Error(ExitCode::bad_checkpoint, fmt::format("{}: not an HDF5 file", path.string()));
  }
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(access.get(), false, true);  // network file systems without locks are fine for reading
#endif
  state->file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  if (state->file < 0) state->fail("open the file", "");
  return H5File(std::move(state));
}

void H5File::commit(Sealing sealing) {
  State& state = *state_;
  state.expect_writing();
  const Activity activity("commit", state.working);
  const bool closed = H5Fclose(state.file) >= 0;
  state.file = -1;
  state.written(closed, "close the file", "");
  if (sealing == Sealing::sealed) {
    try {
      seal_file(state.working);
    } catch (const Error&) {
      state.discard();
      throw;
    }
  }
  const int descriptor = ::open(state.working.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || ::fsync(descriptor) != 0) state.failure = {errno, "fsync"};
  if (descriptor >= 0) ::close(descriptor);
  if (state.failure.error_number == 0 && std::rename(state.working.c_str(), state.path.c_str()) != 0) {
    state.failure = {errno, "rename"};
  }
  if (state.failure.error_number != 0) {
    std::error_code ignored;
    std::filesystem::remove(state.working, ignored);
    state.fail("finish the file", "");
  }
  sync_directory(state.path.parent_path());
  state.writing = false;
}

void H5File::make_group(const std::string& group) {
  state_->expect_writing();
  const Activity activity("write", state_->working);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Handle handle(H5Gcreate2(state_->file, group.c_str(), links.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  state_->written(handle.valid(), "create the group", group);
}

bool H5File::contains(const std::string& object) const {
  state_->expect_open();
  const Activity activity("read", state_->working);
  // H5Lexists demands that every group on the way exists.
  for (std::size_t end = object.find('/', 1); end != std::string::npos; end = object.find('/', end + 1)) {
    if (H5Lexists(state_->file, object.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
  }
  return object == "/" || H5Lexists(state_->file, object.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> H5File::children(const std::string& group) const {
  state_->expect_open();
  const Activity activity("read", state_->working);
  const Handle handle(H5Gopen2(state_->file, group.c_str(), H5P_DEFAULT), H5Gclose);
  if (!handle.valid()) state_->fail("find the group", group);
  std::vector<std::string> names;
  const auto append = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  if (H5Literate(handle.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, append, &names) < 0) {
    state_->fail("list the group", group);
  }
  return names;
}

H5Dims H5File::dims(const std::string& dataset) const {
  const Handle handle = state_->dataset(dataset);
  const Handle space(H5Dget_space(handle.get()), H5Sclose);
  return dims_of(space.get());
}

H5Type H5File::type(const std::string& dataset) const {
  const Handle handle = state_->dataset(dataset);
  const Handle type(H5Dget_type(handle.get()), H5Tclose);
  return hdf5::classify(type.get());
}

std::size_t H5File::elements(const H5Dims& dims) {
  std::size_t product = 1;
  for (const std::int64_t extent : dims) {
    const auto size = static_cast<std::size_t>(extent);
    if (size != 0 && product > std::numeric_limits<std::size_t>::max() / 16 / size) {
      throw Error(ExitCode::bad_checkpoint, fmt::format("a dataset of shape {} cannot be", text_of(dims)));
    }
    product *= size;
  }
  return product;
}

std::size_t H5File::stored_elements(const std::string& dataset, H5Type type, const H5Dims& dims) const {
  const Handle handle = state_->typed_dataset(dataset, type);
  const std::size_t count = elements(dims);
  const auto stored = static_cast<std::size_t>(H5Dget_storage_size(handle.get()));
  const Handle creation(H5Dget_create_plist(handle.get()), H5Pclose);
  // Deflate, which others' files may use, makes at most 1032 bytes out of one (zlib's technical details).
  const std::size_t expansion = H5Pget_nfilters(creation.get()) > 0 ? 1032 : 1;
  if (count / expansion <= stored / H5Tget_size(memory_type(type))) return count;
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: `{}` claims shape {}, but only {} bytes of it are stored",
                                                    state_->path.string(), dataset, text_of(dims), stored));
}

void H5File::expect_dims(const std::string& dataset, const H5Dims& expected) const {
  const H5Dims found = dims(dataset);
  if (found == expected) return;
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: `{}` has shape {}, expected {}", state_->path.string(),
                                                    dataset, text_of(found), text_of(expected)));
}

void H5File::reserve_numbers(const std::string& dataset, H5Type type, const H5Dims& dims) {
  const Handle handle = state_->make_dataset(dataset, memory_type(type), dims, false);
  state_->written(true, "create the dataset", dataset);
}

void H5File::write_numbers(const std::string& dataset, H5Type type, const void* values, std::size_t size,
                           const H5Dims& dims) {
  HEADROOM_CHECK(size == elements(dims), "{} values for `{}` of shape {}", size, dataset, text_of(dims));
  const hid_t numbers = memory_type(type);
  const Activity activity("write", state_->working);
  const Handle handle = state_->make_dataset(dataset, numbers, dims, false);
  const bool done = size == 0 || H5Dwrite(handle.get(), numbers, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
  state_->written(done, "write the dataset", dataset);
}

void H5File::write_text(const std::string& dataset, std::span<const std::string> values, const H5Dims& dims) {
  HEADROOM_CHECK(values.size() == elements(dims), "{} strings for `{}` of shape {}", values.size(), dataset,
                 text_of(dims));
  std::vector<std::string> clean;
  std::vector<const char*> pointers;
  clean.reserve(values.size());
  for (const std::string& value : values) pointers.push_back(clean.emplace_back(hdf5::without_nul(value)).c_str());
  const Handle type = text_type();
  const Handle handle = state_->make_dataset(dataset, type.get(), dims, true);
  const Activity activity("write", state_->working);
  const bool done =
      values.empty() || H5Dwrite(handle.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()) >= 0;
  state_->written(done, "write the dataset", dataset);
}

void H5File::write_numbers_slab(const std::string& dataset, H5Type type, const void* values, std::size_t size,
                                const H5Dims& offset, const H5Dims& count) {
  state_->expect_writing();
  HEADROOM_CHECK(size == elements(count), "{} values for a slab {} of `{}`", size, text_of(count), dataset);
  const Activity activity("write", state_->working);
  const Handle handle = state_->typed_dataset(dataset, type);
  const Handle file_space = state_->slab(handle.get(), dataset, offset, count);
  const Handle memory_space = space_of(count);
  const bool done = size == 0 || H5Dwrite(handle.get(), memory_type(type), memory_space.get(), file_space.get(),
                                          H5P_DEFAULT, values) >= 0;
  state_->written(done, "write a slab of the dataset", dataset);
}

void H5File::write_virtual_numbers(const std::string& dataset, H5Type type, const H5Dims& dims,
                                   std::span<const Part> parts) {
  state_->expect_writing();
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  // Where a file is missing there are no numbers, which must not look like zeros.
  const double nowhere = std::numeric_limits<double>::quiet_NaN();
  const bool real = type == H5Type::f32 || type == H5Type::f64;
  if (real) H5Pset_fill_value(creation.get(), H5T_NATIVE_DOUBLE, &nowhere);
  const Handle whole = space_of(dims);
  for (const Part& part : parts) {
    const Handle place = space_of(dims);
    const Handle source = space_of({part.whole});
    const std::vector<hsize_t> offset(part.offset.begin(), part.offset.end());
    const std::vector<hsize_t> count(part.count.begin(), part.count.end());
    const hsize_t begin = static_cast<hsize_t>(part.begin);
    const hsize_t length = elements(part.count);
    const bool mapped =
        H5Sselect_hyperslab(place.get(), H5S_SELECT_SET, offset.data(), nullptr, count.data(), nullptr) >= 0 &&
        H5Sselect_hyperslab(source.get(), H5S_SELECT_SET, &begin, nullptr, &length, nullptr) >= 0 &&
        H5Pset_virtual(creation.get(), place.get(), part.file.c_str(), part.dataset.c_str(), source.get()) >= 0;
    state_->written(mapped, "map " + part.file + ":" + part.dataset + " into", dataset);
  }
  const Handle handle(H5Dcreate2(state_->file, dataset.c_str(), memory_type(type), whole.get(), links.get(),
                                 creation.get(), H5P_DEFAULT),
                      H5Dclose);
  state_->written(handle.valid(), "create the virtual dataset", dataset);
}

std::int64_t H5File::place_in_file(const std::string& dataset) const {
  const Handle handle = state_->dataset(dataset);
  const haddr_t address = H5Dget_offset(handle.get());
  HEADROOM_CHECK(address != HADDR_UNDEF, "{}: `{}` has no values of its own", state_->path.string(), dataset);
  return static_cast<std::int64_t>(address);
}

void H5File::read_numbers(const std::string& dataset, H5Type type, void* values, std::size_t size) const {
  const Activity activity("read", state_->working);
  const Handle handle = state_->typed_dataset(dataset, type);
  if (size == 0) return;
  if (H5Dread(handle.get(), memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    state_->fail("read the dataset", dataset);
  }
}

void H5File::read_numbers_slab(const std::string& dataset, H5Type type, void* values, std::size_t size,
                               const H5Dims& offset, const H5Dims& count) const {
  HEADROOM_CHECK(size == elements(count), "room for {} values, a slab {} of `{}`", size, text_of(count), dataset);
  const Activity activity("read", state_->working);
  const Handle handle = state_->typed_dataset(dataset, type);
  const Handle file_space = state_->slab(handle.get(), dataset, offset, count);
  const Handle memory_space = space_of(count);
  if (size == 0) return;
  if (H5Dread(handle.get(), memory_type(type), memory_space.get(), file_space.get(), H5P_DEFAULT, values) < 0) {
    state_->fail("read a slab of the dataset", dataset);
  }
}

H5Array<std::string> H5File::read_text(const std::string& dataset) const {
  const Activity activity("read", state_->working);
  const Handle handle = state_->typed_dataset(dataset, H5Type::text);
  const Handle space(H5Dget_space(handle.get()), H5Sclose);
  const Handle type = text_type();
  H5Array<std::string> array;
  array.dims = dims_of(space.get());
  std::vector<char*> pointers(elements(array.dims), nullptr);
  if (pointers.empty()) return array;
  if (H5Dread(handle.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()) < 0) {
    state_->fail("read the dataset", dataset);
  }
  for (const char* text : pointers) array.values.emplace_back(text == nullptr ? "" : text);
  H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, pointers.data());
  return array;
}

bool H5File::has_attribute(const std::string& object, const std::string& name) const {
  state_->expect_open();
  const htri_t found = H5Aexists_by_name(state_->file, object.c_str(), name.c_str(), H5P_DEFAULT);
  if (found < 0) state_->fail("look for the attribute", object + "@" + name);
  return found > 0;
}

void H5File::set_attribute(const std::string& object, const std::string& name, const std::string& value) {
  const std::string clean = hdf5::without_nul(value);
  const char* pointer = clean.c_str();
  const Handle type = text_type();
  state_->set_attribute(object, name, type.get(), &pointer, {});
}

void H5File::set_attribute(const std::string& object, const std::string& name, std::int64_t value) {
  state_->set_attribute(object, name, H5T_NATIVE_INT64, &value, {});
}

void H5File::set_attribute(const std::string& object, const std::string& name, double value) {
  state_->set_attribute(object, name, H5T_NATIVE_DOUBLE, &value, {});
}

void H5File::set_attribute(const std::string& object, const std::string& name, std::span<const double> values) {
  state_->set_attribute(object, name, H5T_NATIVE_DOUBLE, values.data(), {static_cast<std::int64_t>(values.size())});
}

std::string H5File::text_attribute(const std::string& object, const std::string& name) const {
  const Handle handle = state_->attribute(object, name, H5Type::text);
  const Handle space(H5Aget_space(handle.get()), H5Sclose);
  const Handle type = text_type();
  char* pointer = nullptr;
  if (H5Sget_simple_extent_npoints(space.get()) != 1 || H5Aread(handle.get(), type.get(), &pointer) < 0) {
    state_->fail("read as one string the attribute", object + "@" + name);
  }
  std::string value = pointer == nullptr ? "" : pointer;
  H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, &pointer);
  return value;
}

std::int64_t H5File::int_attribute(const std::string& object, const std::string& name) const {
  return state_->single<std::int64_t>(object, name);
}

double H5File::real_attribute(const std::string& object, const std::string& name) const {
  return state_->single<double>(object, name);
}

std::vector<double> H5File::reals_attribute(const std::string& object, const std::string& name) const {
  const Handle handle = state_->attribute(object, name, H5Type::f64);
  const Handle space(H5Aget_space(handle.get()), H5Sclose);
  std::vector<double> values(elements(dims_of(space.get())));
  if (!values.empty() && H5Aread(handle.get(), H5T_NATIVE_DOUBLE, values.data()) < 0) {
    state_->fail("read the attribute", object + "@" + name);
  }
  return values;
}

}  // namespace headroom
