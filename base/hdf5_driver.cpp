#include "base/hdf5_driver.h"

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/activity.h"
#include "base/error.h"

namespace headroom {
namespace {

struct DriverInfo {
  WriteFailure* failure;
};

// Metadata that found no room on the disk, kept so that the library reads back what it believes to have written.
struct Unwritten {
  haddr_t address;
  std::vector<std::byte> bytes;
};

// The base comes first and the type is standard layout up to it: HDF5 hands back the pointer it was given.
struct RecordingFile : H5FD_t {
  int descriptor = -1;
  haddr_t end_of_addresses = 0;
  haddr_t end_of_file = 0;
  dev_t device = 0;
  ino_t inode = 0;
  WriteFailure* failure = nullptr;
  std::vector<Unwritten> unwritten;

  RecordingFile() : H5FD_t{} {}
  ~RecordingFile() {
    if (descriptor >= 0) ::close(descriptor);
  }
  RecordingFile(const RecordingFile&) = delete;
  RecordingFile& operator=(const RecordingFile&) = delete;

  void record(const char* operation, int error_number) {
    if (failure->error_number == 0) *failure = {error_number, operation};
  }
};

RecordingFile& self(H5FD_t* file) {
  return *static_cast<RecordingFile*>(file);
}
const RecordingFile& self(const H5FD_t* file) {
  return *static_cast<const RecordingFile*>(file);
}

H5FD_t* open_file(const char* name, unsigned flags, hid_t access, haddr_t /*max_address*/) {
  const auto* info = static_cast<const DriverInfo*>(H5Pget_driver_info(access));
  if (info == nullptr) return nullptr;
  int mode = (flags & H5F_ACC_RDWR) != 0 ? O_RDWR : O_RDONLY;
  if ((flags & H5F_ACC_TRUNC) != 0) mode |= O_TRUNC;
  if ((flags & H5F_ACC_CREAT) != 0) mode |= O_CREAT;
  if ((flags & H5F_ACC_EXCL) != 0) mode |= O_EXCL;
  auto file = std::make_unique<RecordingFile>();
  file->descriptor = ::open(name, mode | O_CLOEXEC, 0666);
  struct stat status = {};
  if (file->descriptor < 0 || ::fstat(file->descriptor, &status) != 0) {
    *info->failure = {errno, "open"};
    return nullptr;
  }
  *info->failure = {};  // HDF5 first tries to open a file that it is about to create
  file->failure = info->failure;
  file->end_of_file = static_cast<haddr_t>(status.st_size);
  file->device = status.st_dev;
  file->inode = status.st_ino;
  return file.release();
}

herr_t close_file(H5FD_t* file) {
  const std::unique_ptr<RecordingFile> owner(&self(file));
  const int descriptor = owner->descriptor;
  owner->descriptor = -1;
  if (::close(descriptor) != 0) owner->record("close", errno);  // network file systems report a full disk here
  return 0;
}

int compare(const H5FD_t* left, const H5FD_t* right) {
  const auto key = [](const RecordingFile& file) { return std::pair(file.device, file.inode); };
  if (key(self(left)) == key(self(right))) return 0;
  return key(self(left)) < key(self(right)) ? -1 : 1;
}

herr_t query(const H5FD_t* /*file*/, unsigned long* flags) {
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
           H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t get_end_of_addresses(const H5FD_t* file, H5FD_mem_t /*type*/) {
  return self(file).end_of_addresses;
}
haddr_t get_end_of_file(const H5FD_t* file, H5FD_mem_t /*type*/) {
  return self(file).end_of_file;
}

herr_t set_end_of_addresses(H5FD_t* file, H5FD_mem_t /*type*/, haddr_t address) {
  self(file).end_of_addresses = address;
  return 0;
}

herr_t read_bytes(H5FD_t* file, H5FD_mem_t /*type*/, hid_t /*transfer*/, haddr_t address, std::size_t size,
                  void* buffer) {
  RecordingFile& recording = self(file);
  auto* const out = static_cast<std::byte*>(buffer);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(recording.descriptor, out + done, size - done, static_cast<off_t>(address + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
    note_progress();
  }
  std::memset(out + done, 0, size - done);  // past the end of the file: zeros, as HDF5 expects
  for (const Unwritten& block : recording.unwritten) {
    const haddr_t begin = std::max(address, block.address);
    const haddr_t end = std::min<haddr_t>(address + size, block.address + block.bytes.size());
    if (begin < end) std::memcpy(out + (begin - address), block.bytes.data() + (begin - block.address), end - begin);
  }
  return 0;
}

herr_t write_bytes(H5FD_t* file, H5FD_mem_t type, hid_t /*transfer*/, haddr_t address, std::size_t size,
                   const void* buffer) {
  RecordingFile& recording = self(file);
  const auto* const in = static_cast<const std::byte*>(buffer);
  std::size_t done = 0;
  while (recording.failure->error_number == 0 && done < size) {
    const ssize_t count = ::pwrite(recording.descriptor, in + done, size - done, static_cast<off_t>(address + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      recording.record("write", count < 0 ? errno : ENOSPC);
      break;
    }
    done += static_cast<std::size_t>(count);
    note_progress();
  }
  if (done < size && type != H5FD_MEM_DRAW) recording.unwritten.push_back({address + done, {in + done, in + size}});
  recording.end_of_file = std::max<haddr_t>(recording.end_of_file, address + size);
  return 0;
}

herr_t truncate_file(H5FD_t* file, hid_t /*transfer*/, hbool_t /*closing*/) {
  RecordingFile& recording = self(file);
  if (recording.end_of_file == recording.end_of_addresses) return 0;
  if (recording.failure->error_number == 0 &&
      ::ftruncate(recording.descriptor, static_cast<off_t>(recording.end_of_addresses)) != 0) {
    recording.record("truncate", errno);
  }
  recording.end_of_file = recording.end_of_addresses;
  return 0;
}

// HDF5 asks for a lock only while opening; a partial file is nobody else's, and some network file systems have none.
herr_t lock_file(H5FD_t* /*file*/, hbool_t /*write*/) {
  return 0;
}
herr_t unlock_file(H5FD_t* /*file*/) {
  return 0;
}

hid_t driver_id() {
  static const hid_t id = [] {
    static H5FD_class_t driver = {};
#ifdef H5FD_CLASS_VERSION  // HDF5 1.14 and later
    driver.version = H5FD_CLASS_VERSION;
    driver.value = H5FD_RESERVED + 1;
#endif
    driver.name = "headroom_recording";
    driver.maxaddr = (haddr_t{1} << 63) - 1;
    driver.fc_degree = H5F_CLOSE_WEAK;
    driver.fapl_size = sizeof(DriverInfo);
    driver.open = open_file;
    driver.close = close_file;
    driver.cmp = compare;
    driver.query = query;
    driver.get_eoa = get_end_of_addresses;
    driver.set_eoa = set_end_of_addresses;
    driver.get_eof = get_end_of_file;
    driver.read = read_bytes;
    driver.write = write_bytes;
    driver.truncate = truncate_file;
    driver.lock = lock_file;
    driver.unlock = unlock_file;
    const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(map), std::end(map), driver.fl_map);
    return H5FDregister(&driver);
  }();
  return id;
}

}  // namespace

void use_recording_driver(std::int64_t access_properties, WriteFailure* failure) {
  const DriverInfo info{failure};
  const hid_t id = driver_id();
  HEADROOM_CHECK(id >= 0 && H5Pset_driver(access_properties, id, &info) >= 0, "HDF5 refuses the recording driver");
}

}  // namespace headroom
