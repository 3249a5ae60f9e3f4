#include "trainer/preflight_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/activity.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/stopwatch.h"

namespace headroom {
namespace {

constexpr std::int64_t kBlock = std::int64_t{1} << 20;

struct RemovedFile {
  const std::filesystem::path& path;
  ~RemovedFile() { ::unlink(path.c_str()); }
};

// The bytes of a block: other ones in each, and none that a file system could compress or share.
void fill(std::vector<char>& block, std::uint64_t number) {
  std::uint64_t state = number + 1;
  for (std::size_t i = 0; i + sizeof state <= block.size(); i += sizeof state) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    std::memcpy(block.data() + i, &state, sizeof state);
  }
}

double seconds_of_writing(const std::filesystem::path& path, std::int64_t blocks) {
  const Activity activity("write", path);
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file) throw_write_error(path, "create", errno);
  std::vector<char> block(kBlock);
  double seconds = 0.0;
  for (std::int64_t number = 0; number < blocks; ++number) {
    fill(block, static_cast<std::uint64_t>(number));
    const Stopwatch watch;
    const int error = write_all(file.get(), {block.data(), block.size()});
    if (error != 0) throw_write_error(path, "write", error);
    seconds += watch.seconds();
    note_progress();
  }
  const Stopwatch watch;
  if (::fsync(file.get()) != 0) throw_write_error(path, "synchronise", errno);
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  if (const int error = file.close(); error != 0) throw_write_error(path, "close", error);
  return seconds + watch.seconds();
}

double seconds_of_reading(const std::filesystem::path& path, std::int64_t blocks) {
  const Activity activity("read", path);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) throw_read_error(path, errno);
  std::vector<char> block(kBlock);
  std::vector<char> expected(kBlock);
  double seconds = 0.0;
  for (std::int64_t number = 0; number < blocks; ++number) {
    const Stopwatch watch;
    for (std::size_t got = 0; got < block.size();) {
      const ssize_t count = ::read(file.get(), block.data() + got, block.size() - got);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw_read_error(path, errno);
      if (count == 0) throw Error(ExitCode::bad_data, fmt::format("'{}' is shorter than written", path.string()));
      got += static_cast<std::size_t>(count);
    }
    seconds += watch.seconds();
    note_progress();
    fill(expected, static_cast<std::uint64_t>(number));
    if (block != expected) {
      throw Error(ExitCode::bad_data, fmt::format("'{}' holds other bytes than were written", path.string()));
    }
  }
  return seconds;
}

}  // namespace

DiskFigures time_disk(const std::filesystem::path& directory, const std::string& name, std::int64_t bytes) {
  const std::filesystem::path path = directory / name;
  const RemovedFile removed{path};
  const std::int64_t blocks = std::max<std::int64_t>(1, bytes / kBlock);
  const auto written = static_cast<double>(blocks * kBlock);
  const double writing = seconds_of_writing(path, blocks);
  return {written / writing, written / seconds_of_reading(path, blocks)};
}

}  // namespace headroom
