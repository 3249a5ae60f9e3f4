#include "parallel/mpi_communicator.h"

#include <algorithm>
#include <cstring>

#include "parallel/collective_checks.h"
#include "parallel/inboxes.h"
#include "parallel/rank_order.h"

namespace headroom {
namespace {

// Segments: small enough that several a peer stay in the caches, large enough that a segment's fixed cost is nothing.
constexpr std::int64_t kLargestSegment = std::int64_t{1} << 20;  // bytes
constexpr std::int64_t kSmallestSegment = std::int64_t{64} << 10;
constexpr std::int64_t kScratchAim = std::int64_t{16} << 20;  // bytes of scratch a reduction should get by with

// Up to this many bytes over all ranks, an all-reduce gathers everything everywhere: fewer messages one after another.
constexpr std::int64_t kSmallAllReduce = std::int64_t{64} << 10;

std::int64_t segment_bytes_for(int ranks) {
  return std::clamp(kScratchAim / (ReduceInbox::kWindow * ranks) / 64 * 64, kSmallestSegment, kLargestSegment);
}

// Equal parts of a tensor but for the last ranks', which may be shorter or empty.
struct Parts {
  std::int64_t elements;
  std::int64_t stride;
  std::int64_t element_bytes;

  Parts(std::int64_t all, int ranks, DType dtype)
      : elements(all), stride((all + ranks - 1) / ranks), element_bytes(static_cast<std::int64_t>(size_of(dtype))) {}

  std::int64_t begin(int rank) const { return std::min(rank * stride, elements); }
  std::int64_t count(int rank) const { return begin(rank + 1) - begin(rank); }
  std::int64_t bytes(int rank) const { return count(rank) * element_bytes; }
};

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(std::shared_ptr<MpiGroup> group) : group_(std::move(group)) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }

  void all_reduce(Tensor x, Reduction reduction) override {
    HEADROOM_CHECK(x.device() == Device::cpu, "all_reduce of a tensor that is not in host memory");
    all_reduce_numbers(x.raw(), x.elements(), x.dtype(), reduction);
  }

  void all_gather(const Tensor& shard, Tensor whole) override { all_gather_async(shard, whole)->wait(); }

  std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) override {
    check_shard("all_gather", shard, whole, rank(), size());
    count(shard.bytes() * (size() - 1));
    std::byte* const own = part_of(whole, rank(), shard.bytes());
    if (own != shard.raw()) std::memcpy(own, shard.raw(), static_cast<std::size_t>(shard.bytes()));
    return gather({Collective::all_gather, whole.dtype(), Reduction::sum, whole.elements()}, whole.raw());
  }

  void reduce_scatter(const Tensor& whole, Tensor shard) override { reduce_scatter_async(whole, shard)->wait(); }

  std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) override {
    check_shard("reduce_scatter", shard, whole, rank(), size());
    count(shard.bytes() * (size() - 1));
    return scatter({Collective::reduce_scatter, whole.dtype(), Reduction::sum, whole.elements()}, whole.raw(),
                   shard.raw());
  }

  void broadcast(Tensor x, int root) override {
    HEADROOM_CHECK(x.device() == Device::cpu, "broadcast of a tensor that is not in host memory");
    const WaitingClock clock(*group_);
    count(rank() == root ? x.bytes() : 0);
    const std::int64_t bytes = broadcast_number(x.bytes(), root);
    if (bytes != x.bytes()) {
      throw Error(ExitCode::communication,
                  fmt::format("calls do not match: rank {} of {} waits for a broadcast of {} bytes, rank {} sends {}",
                              rank(), size(), x.bytes(), root, bytes),
                  "All ranks must run the same program with the same config and the same data.");
    }
    broadcast_range(static_cast<std::byte*>(x.raw()), x.bytes(), root);
  }

  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int root) override {
    const WaitingClock clock(*group_);
    const auto bytes = static_cast<std::int64_t>(message.size());
    count(rank() == root ? 0 : bytes);
    std::vector<std::int64_t> sizes(rank() == root ? static_cast<std::size_t>(size()) : 0);
    group_->check(MPI_Gather(&bytes, 1, MPI_INT64_T, sizes.data(), 1, MPI_INT64_T, root, group_->comm()),
                  "MPI_Gather in gather_bytes");
    if (rank() != root) {
      mpi::for_each_piece(message.size(), [&](std::size_t begin, int piece) {
        group_->check(MPI_Send(message.data() + begin, piece, MPI_BYTE, root, mpi::kControlTag, group_->comm()),
                      "MPI_Send in gather_bytes");
      });
      return {};
    }
    std::vector<std::vector<std::byte>> messages(static_cast<std::size_t>(size()));
    for (int other = 0; other < size(); ++other) {
      std::vector<std::byte>& place = messages[static_cast<std::size_t>(other)];
      if (other == root) {
        place.assign(message.begin(), message.end());
        continue;
      }
      place.resize(static_cast<std::size_t>(sizes[static_cast<std::size_t>(other)]));
      mpi::for_each_piece(place.size(), [&](std::size_t begin, int piece) {
        group_->check(
            MPI_Recv(place.data() + begin, piece, MPI_BYTE, other, mpi::kControlTag, group_->comm(), MPI_STATUS_IGNORE),
            "MPI_Recv in gather_bytes");
      });
    }
    return messages;
  }

  std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int root) override {
    const WaitingClock clock(*group_);
    const auto own = static_cast<std::int64_t>(message.size());
    count(rank() == root ? own : 0);
    std::vector<std::byte> copy;
    if (rank() == root) copy.assign(message.begin(), message.end());
    copy.resize(static_cast<std::size_t>(broadcast_number(own, root)));
    broadcast_range(copy.data(), static_cast<std::int64_t>(copy.size()), root);
    return copy;
  }

  void all_reduce(std::span<double> values, Reduction reduction) override {
    all_reduce_numbers(values.data(), static_cast<std::int64_t>(values.size()), DType::f64, reduction);
  }

  // Integers add up to the same in any order.
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    const WaitingClock clock(*group_);
    count_all_reduce(static_cast<std::int64_t>(values.size_bytes()));
    mpi::for_each_piece(values.size(), [&](std::size_t begin, int piece) {
      group_->check(MPI_Allreduce(MPI_IN_PLACE, values.data() + begin, piece, MPI_INT64_T,
                                  reduction == Reduction::max ? MPI_MAX : MPI_SUM, group_->comm()),
                    "MPI_Allreduce of integers");
    });
  }

  void barrier() override {
    const WaitingClock clock(*group_);
    group_->check(MPI_Barrier(group_->comm()), "MPI_Barrier");
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    HEADROOM_CHECK(color >= 0, "split with color {}", color);
    return wrap(mpi::Comm::split(group_->comm(), color, key), group_->underway());
  }

  Traffic traffic() const override { return group_->traffic; }
  double seconds_waiting() const override { return group_->seconds_waiting; }

  // A group of one needs no library.
  static std::unique_ptr<Communicator> wrap(mpi::Comm comm, std::shared_ptr<MpiGroup::Underway> underway) {
    auto group = std::make_shared<MpiGroup>(std::move(comm), std::move(underway));
    if (group->size() == 1) return make_self_communicator();
    return std::make_unique<MpiCommunicator>(std::move(group));
  }

 private:
  void count(std::int64_t bytes) {
    group_->traffic.bytes += bytes;
    ++group_->traffic.calls;
  }
  void count_all_reduce(std::int64_t bytes) { count(2 * (size() - 1) * bytes / size()); }

  // Sends this rank's part of `whole` to all and takes in theirs.
  std::unique_ptr<Pending> gather(const Announcement& announcement, void* whole) {
    const Parts parts(announcement.elements, size(), announcement.dtype);
    auto* const begin = static_cast<std::byte*>(whole);
    const std::int64_t stride = parts.stride * parts.element_bytes;
    std::vector<Route> routes;
    for (int other = 0; other < size(); ++other) {
      routes.push_back({begin + parts.begin(rank()) * parts.element_bytes, parts.bytes(rank()), parts.bytes(other)});
    }
    const std::int64_t segment = segment_bytes_for(size());
    return std::make_unique<Exchange>(group_, announcement, routes, segment,
                                      std::make_shared<GatherInbox>(begin, stride, segment));
  }

  // Sends each rank its part of `whole` and reduces what comes for this rank's into `out`.
  std::unique_ptr<Pending> scatter(const Announcement& announcement, const void* whole, void* out) {
    const Parts parts(announcement.elements, size(), announcement.dtype);
    const auto* const begin = static_cast<const std::byte*>(whole);
    std::vector<Route> routes;
    for (int other = 0; other < size(); ++other) {
      routes.push_back({begin + parts.begin(other) * parts.element_bytes, parts.bytes(other), parts.bytes(rank())});
    }
    const std::int64_t segment = segment_bytes_for(size());
    auto inbox = std::make_shared<ReduceInbox>(*group_, announcement.reduction, announcement.dtype,
                                               begin + parts.begin(rank()) * parts.element_bytes,
                                               static_cast<std::byte*>(out), parts.count(rank()), segment);
    return std::make_unique<Exchange>(group_, announcement, routes, segment, std::move(inbox));
  }

  void all_reduce_numbers(void* numbers, std::int64_t elements, DType dtype, Reduction reduction) {
    const std::int64_t bytes = elements * static_cast<std::int64_t>(size_of(dtype));
    count_all_reduce(bytes);
    if (bytes * size() <= kSmallAllReduce) {
      all_reduce_small(numbers, elements, dtype, reduction);
      return;
    }
    const Announcement announcement{Collective::all_reduce, dtype, reduction, elements};
    const Parts parts(elements, size(), dtype);
    scatter(announcement, numbers, static_cast<std::byte*>(numbers) + parts.begin(rank()) * parts.element_bytes)
        ->wait();
    gather(announcement, numbers)->wait();
  }

  void all_reduce_small(void* numbers, std::int64_t elements, DType dtype, Reduction reduction) {
    const WaitingClock clock(*group_);
    const auto bytes = static_cast<std::size_t>(elements) * size_of(dtype);
    const ScratchPool::Loan all(group_->scratch(), bytes * static_cast<std::size_t>(size()));
    group_->check(MPI_Allgather(numbers, static_cast<int>(bytes), MPI_BYTE, all.data(), static_cast<int>(bytes),
                                MPI_BYTE, group_->comm()),
                  "MPI_Allgather in all_reduce");
    std::vector<const void*> sources;
    for (std::size_t other = 0; other < static_cast<std::size_t>(size()); ++other) {
      sources.push_back(all.data() + other * bytes);
    }
    reduce_in_order(reduction, sources, numbers, elements, dtype);
  }

  std::int64_t broadcast_number(std::int64_t number, int root) {
    group_->check(MPI_Bcast(&number, 1, MPI_INT64_T, root, group_->comm()), "MPI_Bcast of a size");
    return number;
  }

  void broadcast_range(std::byte* data, std::int64_t bytes, int root) {
    mpi::for_each_piece(static_cast<std::size_t>(bytes), [&](std::size_t begin, int piece) {
      group_->check(MPI_Bcast(data + begin, piece, MPI_BYTE, root, group_->comm()), "MPI_Bcast");
    });
  }

  std::shared_ptr<MpiGroup> group_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_world() {
  return MpiCommunicator::wrap(mpi::Comm::duplicate(MPI_COMM_WORLD), std::make_shared<MpiGroup::Underway>());
}

}  // namespace headroom
