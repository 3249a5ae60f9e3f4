// Stands in for NCCL between processes of one host: ranks meet in shared memory, collectives run in the stream they
// are given, and what the real one does late (making communicators, the first collective's connections) is done late.
// Sums are in rank order.
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "parallel/cuda/nccl_library.h"
#include "parallel/rank_order.h"
#include "tests/parallel/fake_gpu/memory.h"
#include "tests/parallel/fake_gpu/streams.h"

namespace {

using headroom::fake::enqueue;
using headroom::fake::host_address;

constexpr std::size_t kSlot = std::size_t{64} << 10;  // bytes a rank passes at a time
constexpr std::chrono::milliseconds kLate{2};

// What the ranks of a communicator share; zeroed when it is made.
struct Meeting {
  std::atomic<int> arrived;
  std::atomic<int> round;
};

headroom::DType dtype_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt32:
      return headroom::DType::i32;
    case ncclInt64:
      return headroom::DType::i64;
    case ncclFloat64:
      return headroom::DType::f64;
    case ncclBfloat16:
      return headroom::DType::bf16;
    default:
      return headroom::DType::f32;
  }
}

}  // namespace

struct FakeComm {
  FakeComm(std::string shared_name, int own_rank, int ranks)
      : name(std::move(shared_name)), rank(own_rank), size(ranks) {
    bytes = sizeof(Meeting) + 64 + kSlot * static_cast<std::size_t>(size);
    const int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
    HEADROOM_CHECK(file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0, "shared memory {}", name);
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    HEADROOM_CHECK(memory != MAP_FAILED, "shared memory {}", name);
    close(file);
  }
  ~FakeComm() {
    if (late.joinable()) late.join();
    munmap(memory, bytes);
  }

  std::byte* slot(int of) const { return static_cast<std::byte*>(memory) + 64 + kSlot * static_cast<std::size_t>(of); }

  // Returns when all ranks are there, or this one has given up.
  void meet() {
    auto& meeting = *static_cast<Meeting*>(memory);
    const int round = meeting.round;
    if (++meeting.arrived == size) {
      meeting.arrived = 0;
      ++meeting.round;
      return;
    }
    while (meeting.round == round && !aborted) std::this_thread::sleep_for(std::chrono::microseconds(20));
  }

  // Does it later; until then the communicator is in progress.
  template <class Work>
  ncclResult_t begin(Work work) {
    if (late.joinable()) late.join();
    state = ncclInProgress;
    late = std::thread([this, work] {
      std::this_thread::sleep_for(kLate);
      work();
      state = ncclSuccess;
    });
    return ncclInProgress;
  }

  // The first collective connects.
  ncclResult_t start(cudaStream_t stream, std::function<void()> collective) {
    if (aborted || state == ncclInProgress) return ncclInvalidUsage;
    if (started++ == 0) return begin([=] { enqueue(stream, collective); });
    enqueue(stream, std::move(collective));
    return ncclSuccess;
  }

  std::string name;
  int rank;
  int size;
  std::size_t bytes;
  void* memory;
  std::atomic<ncclResult_t> state = ncclSuccess;
  std::atomic<bool> aborted = false;
  std::thread late;
  int started = 0;
  int splits = 0;
};

namespace {

// A rank whose communicators report an error once they have started two collectives: HEADROOM_FAKE_NCCL_ERROR.
bool shall_fail(const FakeComm& comm) {
  static const char* const rank = std::getenv("HEADROOM_FAKE_NCCL_ERROR");
  return rank != nullptr && std::atoi(rank) == comm.rank && comm.started > 1;
}

// Passes `own(piece)` to everyone and takes in `take(piece)`, for every piece of `count` elements.
template <class Own, class Take>
void in_pieces(FakeComm& comm, std::size_t count, std::size_t piece, const Own& own, const Take& take) {
  for (std::size_t begin = 0; begin < count; begin += piece) {
    const std::size_t elements = std::min(piece, count - begin);
    own(begin, elements);
    comm.meet();
    if (!comm.aborted) take(begin, elements);
    comm.meet();
  }
}

void reduce(FakeComm& comm, std::size_t offset, std::size_t elements, headroom::DType type, ncclRedOp_t op,
            std::byte* out) {
  std::vector<const void*> sources;
  for (int other = 0; other < comm.size; ++other) sources.push_back(comm.slot(other) + offset);
  headroom::reduce_in_order(op == ncclSum ? headroom::Reduction::sum : headroom::Reduction::max, sources, out,
                            static_cast<std::int64_t>(elements), type);
}

FakeComm* part_of(FakeComm& comm, int number, int color, int key) {
  struct Place {
    int color;
    int key;
  };
  const Place own{color, key};
  std::memcpy(comm.slot(comm.rank), &own, sizeof own);
  comm.meet();
  int rank = 0;
  int size = 0;
  for (int other = 0; other < comm.size; ++other) {
    Place place{};
    std::memcpy(&place, comm.slot(other), sizeof place);
    if (place.color != color) continue;
    ++size;
    if (place.key < key || (place.key == key && other < comm.rank)) ++rank;
  }
  comm.meet();
  if (color == NCCL_SPLIT_NOCOLOR) return nullptr;
  auto* const part = new FakeComm(fmt::format("{}-{}-{}", comm.name, number, color), rank, size);
  part->meet();
  shm_unlink(part->name.c_str());  // all have it
  return part;
}

}  // namespace

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): NCCL's parameters, our names
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int count = 0;
  const std::string name = fmt::format("/headroom-fake-nccl-{}-{}", getpid(), count++);
  *id = {};
  name.copy(id->internal, sizeof id->internal - 1);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  HEADROOM_CHECK(config->blocking == 0, "only non-blocking communicators are fake");
  auto* const made = new FakeComm(id.internal, rank, ranks);
  *comm = made;
  return made->begin([made] {
    made->meet();
    shm_unlink(made->name.c_str());
  });
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t*) {
  if (comm->state == ncclInProgress) return ncclInvalidUsage;
  const int number = comm->splits++;
  return comm->begin([=] { *part = part_of(*comm, number, color, key); });
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  return comm->begin([] {});
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->aborted = true;  // kept: its collectives may be in a stream
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  *error = shall_fail(*comm) ? ncclRemoteError : comm->state.load();
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "a fake remote error" : "a fake error";
}
const char* ncclGetLastError(ncclComm_t) {
  return "";
}

ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  const headroom::DType dtype = dtype_of(type);
  const std::size_t width = size_of(dtype);
  const auto* const from = static_cast<const std::byte*>(host_address(send));
  auto* const to = static_cast<std::byte*>(host_address(receive));
  return comm->start(stream, [=] {
    in_pieces(
        *comm, count, kSlot / width,
        [&](std::size_t begin, std::size_t n) { std::memcpy(comm->slot(comm->rank), from + begin * width, n * width); },
        [&](std::size_t begin, std::size_t n) { reduce(*comm, 0, n, dtype, op, to + begin * width); });
  });
}

ncclResult_t ncclAllGather(const void* send, void* receive, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  const std::size_t width = size_of(dtype_of(type));
  const auto* const from = static_cast<const std::byte*>(host_address(send));
  auto* const to = static_cast<std::byte*>(host_address(receive));
  return comm->start(stream, [=] {
    in_pieces(
        *comm, count, kSlot / width,
        [&](std::size_t begin, std::size_t n) { std::memcpy(comm->slot(comm->rank), from + begin * width, n * width); },
        [&](std::size_t begin, std::size_t n) {
          for (int other = 0; other < comm->size; ++other) {
            const std::size_t place = static_cast<std::size_t>(other) * count + begin;
            std::memcpy(to + place * width, comm->slot(other), n * width);
          }
        });
  });
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  const headroom::DType dtype = dtype_of(type);
  const std::size_t width = size_of(dtype);
  const auto* const from = static_cast<const std::byte*>(host_address(send));
  auto* const to = static_cast<std::byte*>(host_address(receive));
  const auto ranks = static_cast<std::size_t>(comm->size);
  const std::size_t piece = kSlot / width / ranks;  // of each rank's part
  return comm->start(stream, [=] {
    in_pieces(
        *comm, count, piece,
        [&](std::size_t begin, std::size_t n) {
          for (std::size_t other = 0; other < ranks; ++other) {
            std::memcpy(comm->slot(comm->rank) + other * piece * width, from + (other * count + begin) * width,
                        n * width);
          }
        },
        [&](std::size_t begin, std::size_t n) {
          const std::size_t own = static_cast<std::size_t>(comm->rank) * piece * width;
          reduce(*comm, own, n, dtype, op, to + begin * width);
        });
  });
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)

namespace headroom::cuda {

// In place of parallel/cuda/nccl_library.cpp.
const NcclLibrary& nccl() {
  static const NcclLibrary library = [] {
    NcclLibrary fake;
    fake.GetUniqueId = ncclGetUniqueId;
    fake.CommInitRankConfig = ncclCommInitRankConfig;
    fake.CommSplit = ncclCommSplit;
    fake.CommFinalize = ncclCommFinalize;
    fake.CommDestroy = ncclCommDestroy;
    fake.CommAbort = ncclCommAbort;
    fake.CommGetAsyncError = ncclCommGetAsyncError;
    fake.GetErrorString = ncclGetErrorString;
    fake.GetLastError = ncclGetLastError;
    fake.AllReduce = ncclAllReduce;
    fake.AllGather = ncclAllGather;
    fake.ReduceScatter = ncclReduceScatter;
    return fake;
  }();
  return library;
}

const std::string& why_no_nccl() {
  static const std::string nothing;
  return nothing;
}

}  // namespace headroom::cuda
