#include "parallel/mpi_communicator.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "parallel/collective_checks.h"
#include "parallel/inboxes.h"
#include "parallel/rank_order.h"

namespace headroom {
namespace {

// Segments: small enough that several a peer stay in the caches, large enough that a segment's fixed cost is nothing.
constexpr std::int64_t kLargestSegment = std::int64_t{1} << 20;  // bytes
constexpr std::int64_t kSmallestSegment = std::int64_t{64} << 10;
constexpr std::int64_t kScratchAim = std::int64_t{16} << 20;  // bytes of scratch a reduction should get by with

std::int64_t segment_bytes_for(int ranks) {
  return std::clamp(kScratchAim / (ReduceInbox::kWindow * ranks) / 64 * 64, kSmallestSegment, kLargestSegment);
}

// Equal parts of a tensor but for the last ranks', which may be shorter or empty.
struct Parts {
  std::int64_t elements;
  std::int64_t stride;
  std::int64_t element_bytes;

  Parts(std::int64_t all, int ranks, DType type)
      : elements(all), stride((all + ranks - 1) / ranks), element_bytes(static_cast<std::int64_t>(size_of(type))) {}

  std::int64_t first(int rank) const { return std::min(rank * stride, elements); }
  std::int64_t count(int rank) const { return first(rank + 1) - first(rank); }
  std::int64_t begin(int rank) const { return first(rank) * element_bytes; }  // bytes
  std::int64_t bytes(int rank) const { return count(rank) * element_bytes; }
};

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(std::shared_ptr<MpiGroup> group) : group_(std::move(group)) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }

  void all_reduce(Tensor x, Reduction reduction) override {
    check_on_host("all_reduce", x);
    all_reduce_numbers(x.raw(), {Collective::all_reduce, x.dtype(), reduction, 0, x.elements()});
  }
  void all_reduce(std::span<double> values, Reduction reduction) override {
    all_reduce_numbers(values.data(), {Collective::all_reduce, DType::f64, reduction, 0, std::ssize(values)});
  }
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    all_reduce_numbers(values.data(), {Collective::all_reduce, DType::i64, reduction, 0, std::ssize(values)});
  }

  void all_gather(const Tensor& shard, Tensor whole) override { all_gather_async(shard, whole)->wait(); }

  std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) override {
    check_shard("all_gather", shard, whole, rank(), size());
    check_on_host("all_gather", whole);
    std::byte* const own = part_of(whole, rank(), shard.bytes());
    if (own != shard.raw()) std::copy_n(static_cast<const std::byte*>(shard.raw()), shard.bytes(), own);
    return gather({Collective::all_gather, whole.dtype(), Reduction::sum, 0, whole.elements()},
                  Parts(whole.elements(), size(), whole.dtype()), whole.raw());
  }

  void reduce_scatter(const Tensor& whole, Tensor shard) override { reduce_scatter_async(whole, shard)->wait(); }

  std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) override {
    check_shard("reduce_scatter", shard, whole, rank(), size());
    check_on_host("reduce_scatter", whole);
    return scatter({Collective::reduce_scatter, whole.dtype(), Reduction::sum, 0, whole.elements()}, whole.raw(),
                   shard.raw());
  }

  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int root) override {
    Announcement announcement{.collective = Collective::gather_bytes, .root = root};
    const std::vector<std::int64_t> sizes = sizes_of_messages(announcement, message);
    std::vector<std::vector<std::byte>> messages;
    std::vector<std::byte*> places;
    std::vector<Route> routes(sizes.size());
    if (rank() == root) {
      for (std::size_t other = 0; other < sizes.size(); ++other) {
        messages.emplace_back(static_cast<std::size_t>(sizes[other]));
        places.push_back(messages.back().data());
        routes[other] = {nullptr, 0, sizes[other]};
      }
      std::copy(message.begin(), message.end(), places[static_cast<std::size_t>(root)]);
    } else {
      routes[static_cast<std::size_t>(root)] = {message.data(), std::ssize(message), 0};
    }
    announcement.elements = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
    exchange_bytes(announcement, routes, std::move(places));
    return messages;
  }

  std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int root) override {
    Announcement announcement{.collective = Collective::broadcast_bytes, .root = root};
    announcement.elements = sizes_of_messages(announcement, message)[static_cast<std::size_t>(root)];
    std::vector<std::byte> copy(static_cast<std::size_t>(announcement.elements));
    std::vector<std::byte*> places(static_cast<std::size_t>(size()), copy.data());
    std::vector<Route> routes(static_cast<std::size_t>(size()));
    if (rank() == root) {
      std::copy(message.begin(), message.end(), copy.begin());
      std::fill(routes.begin(), routes.end(), Route{copy.data(), announcement.elements, 0});
    } else {
      routes[static_cast<std::size_t>(root)] = {nullptr, 0, announcement.elements};
    }
    exchange_bytes(announcement, routes, std::move(places));
    return copy;
  }

  void barrier() override { announce(Collective::barrier); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    HEADROOM_CHECK(color >= 0, "split with color {}", color);
    announce(Collective::split);
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
  // Sends this rank's part of `whole` to all and takes in theirs.
  std::unique_ptr<Pending> gather(const Announcement& announcement, const Parts& parts, void* whole) {
    auto* const begin = static_cast<std::byte*>(whole);
    std::vector<Route> routes;
    std::vector<std::byte*> places;
    for (int other = 0; other < size(); ++other) {
      routes.push_back({begin + parts.begin(rank()), parts.bytes(rank()), parts.bytes(other)});
      places.push_back(begin + parts.begin(other));
    }
    const std::int64_t segment = segment_bytes_for(size());
    return std::make_unique<Exchange>(group_, announcement, routes, segment,
                                      std::make_shared<GatherInbox>(std::move(places), segment));
  }

  // Sends each rank its part of `whole` and reduces what comes for this rank's into `out`.
  std::unique_ptr<Pending> scatter(const Announcement& announcement, const void* whole, void* out) {
    const Parts parts(announcement.elements, size(), announcement.type);
    const auto* const begin = static_cast<const std::byte*>(whole);
    std::vector<Route> routes;
    for (int other = 0; other < size(); ++other) {
      routes.push_back({begin + parts.begin(other), parts.bytes(other), parts.bytes(rank())});
    }
    const std::int64_t segment = segment_bytes_for(size());
    auto inbox =
        std::make_shared<ReduceInbox>(*group_, announcement.reduction, announcement.type, begin + parts.begin(rank()),
                                      static_cast<std::byte*>(out), parts.count(rank()), segment);
    return std::make_unique<Exchange>(group_, announcement, routes, segment, std::move(inbox));
  }

  void all_reduce_numbers(void* numbers, const Announcement& announcement) {
    if (announcement.elements * static_cast<std::int64_t>(size_of(announcement.type)) * size() <= kSmallAllReduce) {
      all_reduce_small(numbers, announcement);
      return;
    }
    const Parts parts(announcement.elements, size(), announcement.type);
    scatter(announcement, numbers, static_cast<std::byte*>(numbers) + parts.begin(rank()))->wait();
    gather(announcement, parts, numbers)->wait();
  }

  void all_reduce_small(void* numbers, const Announcement& announcement) {
    const Parts all(announcement.elements * size(), size(), announcement.type);  // every rank's numbers
    const ScratchPool::Loan scratch(group_->scratch(), static_cast<std::size_t>(all.elements * all.element_bytes));
    std::copy_n(static_cast<const std::byte*>(numbers), all.bytes(rank()), scratch.data() + all.begin(rank()));
    gather(announcement, all, scratch.data())->wait();
    std::vector<const void*> sources;
    for (int other = 0; other < size(); ++other) sources.push_back(scratch.data() + all.begin(other));
    reduce_in_order(announcement.reduction, sources, numbers, announcement.elements, announcement.type);
  }

  // How long each rank's message is; the call's first exchange, in which the ranks also find out whether they agree.
  std::vector<std::int64_t> sizes_of_messages(const Announcement& announcement, std::span<const std::byte> message) {
    check_root(announcement.root, size());
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(size()));
    sizes[static_cast<std::size_t>(rank())] = std::ssize(message);
    gather(announcement, Parts(size(), size(), DType::i64), sizes.data())->wait();
    return sizes;
  }

  void exchange_bytes(const Announcement& announcement, const std::vector<Route>& routes,
                      std::vector<std::byte*> places) {
    const std::int64_t segment = segment_bytes_for(size());
    Exchange(group_, announcement, routes, segment, std::make_shared<GatherInbox>(std::move(places), segment)).wait();
  }

  // Returns when every rank is in the same call.
  void announce(Collective collective) {
    const auto ranks = static_cast<std::size_t>(size());
    exchange_bytes({.collective = collective}, std::vector<Route>(ranks), std::vector<std::byte*>(ranks));
  }

  std::shared_ptr<MpiGroup> group_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_world() {
  return MpiCommunicator::wrap(mpi::Comm::duplicate(MPI_COMM_WORLD), std::make_shared<MpiGroup::Underway>());
}

}  // namespace headroom
