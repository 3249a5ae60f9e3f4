#include "parallel/mpi_communicator.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "parallel/mpi_handles.h"
#include "tensor/memory.h"

namespace headroom {
namespace {

MPI_Datatype type_of(DType dtype) { return dtype == DType::f64 ? MPI_DOUBLE : MPI_FLOAT; }

MPI_Op op_of(Reduction reduction) { return reduction == Reduction::max ? MPI_MAX : MPI_SUM; }

std::byte* bytes_of(const Tensor& tensor) { return static_cast<std::byte*>(tensor.raw()); }

// Blocks of scratch memory that collectives borrow and give back, so that a step allocates nothing after the first.
class ScratchPool {
 public:
  Buffer borrow(std::size_t bytes) {
    for (auto buffer = free_.begin(); buffer != free_.end(); ++buffer) {
      if (buffer->bytes() < bytes || buffer->bytes() > 2 * bytes) continue;
      Buffer found = std::move(*buffer);
      free_.erase(buffer);
      return found;
    }
    return Buffer(bytes, Device::cpu, "communication");
  }
  void give_back(Buffer buffer) { free_.push_back(std::move(buffer)); }

 private:
  std::vector<Buffer> free_;
};

// shard[i] = sum over ranks r in order of part_r[i]; part_own may be `shard` itself.
template <class T>
void sum_parts(const std::vector<const T*>& parts, T* shard, std::int64_t elements) {
  constexpr std::int64_t kBlock = 2048;  // stays in the first-level cache
#pragma omp parallel for schedule(static)
  for (std::int64_t begin = 0; begin < elements; begin += kBlock) {
    T sum[kBlock];
    const std::int64_t count = std::min(kBlock, elements - begin);
    std::copy_n(parts[0] + begin, count, sum);
    for (std::size_t rank = 1; rank < parts.size(); ++rank) {
      const T* const part = parts[rank] + begin;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) sum[i] += part[i];
    }
    std::copy_n(sum, count, shard + begin);
  }
}

// Every rank sends each other rank its part directly; parts are added in rank order when all have come.
class ReduceScatter final : public Pending {
 public:
  ReduceScatter(const Tensor& whole, Tensor shard, int rank, int size, MPI_Comm comm, ScratchPool& pool)
      : whole_(whole), shard_(shard), rank_(rank), size_(size), pool_(&pool), requests_(rank) {
    const auto part = static_cast<std::size_t>(shard.bytes());
    received_ = pool.borrow(part * static_cast<std::size_t>(size - 1));
    for (int other = 0; other < size; ++other) {
      if (other != rank) requests_.receive(slot(other), part, other, comm);
    }
    // Each rank begins with its right neighbour, so that not all send to rank 0 first.
    for (int distance = 1; distance < size; ++distance) {
      const int other = (rank + distance) % size;
      requests_.send(bytes_of(whole) + part * static_cast<std::size_t>(other), part, other, comm);
    }
  }

  ~ReduceScatter() override {
    if (done_) return;
    requests_.wait();
  }

  bool progress() override {
    if (!done_ && requests_.test()) finish();
    return done_;
  }

  void wait() override {
    if (done_) return;
    requests_.wait();
    finish();
  }

 private:
  std::byte* slot(int other) const {
    const int place = other < rank_ ? other : other - 1;
    return static_cast<std::byte*>(received_.data()) + static_cast<std::size_t>(shard_.bytes()) * static_cast<std::size_t>(place);
  }

  template <class T>
  void add_up() {
    std::vector<const T*> parts;
    for (int other = 0; other < size_; ++other) {
      parts.push_back(other == rank_ ? whole_.data<T>() + rank_ * shard_.elements()
                                     : reinterpret_cast<const T*>(slot(other)));
    }
    sum_parts(parts, shard_.data<T>(), shard_.elements());
  }

  void finish() {
    shard_.dtype() == DType::f64 ? add_up<double>() : add_up<float>();
    pool_->give_back(std::move(received_));
    done_ = true;
  }

  Tensor whole_;
  Tensor shard_;
  int rank_;
  int size_;
  ScratchPool* pool_;
  Buffer received_;
  mpi::Requests requests_;
  bool done_ = false;
};

// Every rank sends its shard directly to each other rank's place for it.
class AllGather final : public Pending {
 public:
  AllGather(const Tensor& shard, const Tensor& whole, int rank, int size, MPI_Comm comm) : requests_(rank) {
    const auto part = static_cast<std::size_t>(shard.bytes());
    std::byte* const own = bytes_of(whole) + part * static_cast<std::size_t>(rank);
    if (own != bytes_of(shard)) std::memcpy(own, shard.raw(), part);
    for (int other = 0; other < size; ++other) {
      if (other != rank) requests_.receive(bytes_of(whole) + part * static_cast<std::size_t>(other), part, other, comm);
    }
    for (int distance = 1; distance < size; ++distance) {
      requests_.send(own, part, (rank + distance) % size, comm);
    }
  }

  bool progress() override { return requests_.test(); }
  void wait() override { requests_.wait(); }

 private:
  mpi::Requests requests_;
};

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(mpi::Comm comm) : comm_(std::move(comm)) {
    mpi::check(MPI_Comm_rank(comm_.get(), &rank_), "MPI_Comm_rank", -1);
    mpi::check(MPI_Comm_size(comm_.get(), &size_), "MPI_Comm_size", rank_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce(Tensor x, Reduction reduction) override {
    if (size_ == 1 || x.elements() == 0) return;
    count(2 * x.bytes() * (size_ - 1) / size_);
    constexpr std::int64_t kMost = std::numeric_limits<int>::max();
    for (std::int64_t begin = 0; begin < x.elements(); begin += kMost) {
      const Tensor piece = x.flat_range(begin, std::min(kMost, x.elements() - begin));
      mpi::check(MPI_Allreduce(MPI_IN_PLACE, piece.raw(), static_cast<int>(piece.elements()), type_of(x.dtype()),
                               op_of(reduction), comm_.get()),
                 "MPI_Allreduce", rank_);
    }
  }

  void all_gather(const Tensor& shard, Tensor whole) override { all_gather_async(shard, whole)->wait(); }

  std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) override {
    check_parts("all_gather", shard, whole);
    count(shard.bytes() * (size_ - 1));
    return std::make_unique<AllGather>(shard, whole, rank_, size_, comm_.get());
  }

  void reduce_scatter(const Tensor& whole, Tensor shard) override { reduce_scatter_async(whole, shard)->wait(); }

  std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) override {
    check_parts("reduce_scatter", shard, whole);
    count(shard.bytes() * (size_ - 1));
    return std::make_unique<ReduceScatter>(whole, shard, rank_, size_, comm_.get(), pool_);
  }

  void broadcast(Tensor x, int root) override {
    broadcast_range(bytes_of(x), static_cast<std::size_t>(x.bytes()), root);
  }

  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int root) override {
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(size_), 0);
    sizes[static_cast<std::size_t>(rank_)] = static_cast<std::int64_t>(message.size());
    all_reduce(std::span<std::int64_t>(sizes), Reduction::sum);
    if (rank_ != root) {
      count(static_cast<std::int64_t>(message.size()));
      mpi::Requests requests(rank_);
      requests.send(message.data(), message.size(), root, comm_.get());
      requests.wait();
      return {};
    }
    std::vector<std::vector<std::byte>> all;
    for (const std::int64_t size : sizes) all.emplace_back(static_cast<std::size_t>(size));
    mpi::Requests requests(rank_);
    for (int other = 0; other < size_; ++other) {
      std::vector<std::byte>& slot = all[static_cast<std::size_t>(other)];
      if (other == root) {
        std::copy(message.begin(), message.end(), slot.begin());
      } else {
        requests.receive(slot.data(), slot.size(), other, comm_.get());
      }
    }
    requests.wait();
    return all;
  }

  std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int root) override {
    auto size = static_cast<std::int64_t>(rank_ == root ? message.size() : 0);
    all_reduce(std::span<std::int64_t>(&size, 1), Reduction::sum);
    std::vector<std::byte> copy(static_cast<std::size_t>(size));
    if (rank_ == root) std::copy(message.begin(), message.end(), copy.begin());
    broadcast_range(copy.data(), copy.size(), root);
    return copy;
  }

  void all_reduce(std::span<double> values, Reduction reduction) override {
    reduce_host(values, MPI_DOUBLE, reduction);
  }
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    reduce_host(values, MPI_INT64_T, reduction);
  }

  void barrier() override { mpi::check(MPI_Barrier(comm_.get()), "MPI_Barrier", rank_); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<MpiCommunicator>(mpi::Comm::split(comm_.get(), color, key));
  }

  Traffic traffic() const override { return traffic_; }
  double seconds_waiting() const override { return seconds_waiting_; }

 private:
  void count(std::int64_t bytes) {
    traffic_.bytes += bytes;
    ++traffic_.calls;
  }

  void check_parts(std::string_view call, const Tensor& shard, const Tensor& whole) const {
    HEADROOM_CHECK(whole.elements() == shard.elements() * size_ && whole.dtype() == shard.dtype(),
                   "{} over {} ranks: whole {}, shard {}", call, size_, whole.shape().text(), shard.shape().text());
  }

  template <class T>
  void reduce_host(std::span<T> values, MPI_Datatype type, Reduction reduction) {
    if (size_ == 1 || values.empty()) return;
    count(2 * static_cast<std::int64_t>(values.size_bytes()) * (size_ - 1) / size_);
    mpi::check(MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), type, op_of(reduction),
                             comm_.get()),
               "MPI_Allreduce", rank_);
  }

  void broadcast_range(std::byte* data, std::size_t bytes, int root) {
    if (rank_ == root) count(static_cast<std::int64_t>(bytes));
    for (std::size_t begin = 0; begin < bytes; begin += mpi::Requests::kPiece) {
      const auto piece = static_cast<int>(std::min(mpi::Requests::kPiece, bytes - begin));
      mpi::check(MPI_Bcast(data + begin, piece, MPI_BYTE, root, comm_.get()), "MPI_Bcast", rank_);
    }
  }

  mpi::Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  ScratchPool pool_;
  Traffic traffic_;
  double seconds_waiting_ = 0.0;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_world() {
  return std::make_unique<MpiCommunicator>(mpi::Comm::duplicate(MPI_COMM_WORLD));
}

}  // namespace headroom
