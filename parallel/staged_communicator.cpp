#include "parallel/staged_communicator.h"

#include <exception>

#include "parallel/collective_checks.h"
#include "parallel/scratch_pool.h"
#include "tensor/transfer.h"

namespace headroom {
namespace {

std::span<std::byte> bytes_of(const Tensor& host) {
  return {static_cast<std::byte*>(host.raw()), static_cast<std::size_t>(host.bytes())};
}

// A tensor's place in host memory while a collective is under way; goes back to the pool with the object.
class Staging {
 public:
  Staging(std::shared_ptr<ScratchPool> pool, const Tensor& tensor)
      : pool_(std::move(pool)),
        loan_(*pool_, static_cast<std::size_t>(tensor.bytes())),
        tensor_(loan_.data(), {tensor.elements()}, tensor.dtype()) {}

  const Tensor& tensor() const { return tensor_; }

 private:
  std::shared_ptr<ScratchPool> pool_;  // a Pending may outlive its communicator
  ScratchPool::Loan loan_;
  Tensor tensor_;
};

// Ends by uploading `result`, a part of the staging memory, to `destination`.
class StagedPending final : public Pending {
 public:
  StagedPending(std::unique_ptr<Staging> staging, std::unique_ptr<Pending> exchange, const Tensor& result,
                const Tensor& destination)
      : staging_(std::move(staging)),
        exchange_(std::move(exchange)),
        result_(result),
        destination_(destination),
        unwinding_at_start_(std::uncaught_exceptions()) {}

  // Given up while an exception unwinds the stack, as the host's exchange is. An exception of its own has nobody left
  // to catch it and ends the program.
  ~StagedPending() override {
    if (std::uncaught_exceptions() == unwinding_at_start_) wait();
  }
  StagedPending(const StagedPending&) = delete;
  StagedPending& operator=(const StagedPending&) = delete;

  bool progress() override {
    if (exchange_ != nullptr && exchange_->progress()) finish();
    return exchange_ == nullptr;
  }

  void wait() override {
    if (exchange_ == nullptr) return;
    exchange_->wait();
    finish();
  }

 private:
  void finish() {
    exchange_.reset();
    upload_bytes(bytes_of(result_), destination_);
    staging_.reset();
  }

  std::unique_ptr<Staging> staging_;
  std::unique_ptr<Pending> exchange_;  // until it is complete; goes before the memory it works in
  Tensor result_;
  Tensor destination_;
  int unwinding_at_start_;
};

class StagedCommunicator final : public Communicator {
 public:
  explicit StagedCommunicator(std::unique_ptr<Communicator> host)
      : host_(std::move(host)), pool_(std::make_shared<ScratchPool>()) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  void all_reduce(Tensor x, Reduction reduction) override {
    if (x.device() == Device::cpu) {
      host_->all_reduce(x, reduction);
      return;
    }
    const auto staging = downloaded(x);
    host_->all_reduce(staging->tensor(), reduction);
    upload_bytes(bytes_of(staging->tensor()), x);
  }

  void all_gather(const Tensor& shard, Tensor whole) override { all_gather_async(shard, whole)->wait(); }

  std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) override {
    check_shard("all_gather", shard, whole, rank(), size());
    if (whole.device() == Device::cpu) return host_->all_gather_async(shard, whole);
    auto staging = std::make_unique<Staging>(pool_, whole);
    const Tensor all = staging->tensor();
    const Tensor own = own_part(all);
    download_bytes(shard, bytes_of(own));
    auto exchange = host_->all_gather_async(own, all);
    return std::make_unique<StagedPending>(std::move(staging), std::move(exchange), all, whole);
  }

  void reduce_scatter(const Tensor& whole, Tensor shard) override { reduce_scatter_async(whole, shard)->wait(); }

  std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) override {
    check_shard("reduce_scatter", shard, whole, rank(), size());
    if (whole.device() == Device::cpu) return host_->reduce_scatter_async(whole, shard);
    auto staging = downloaded(whole);
    const Tensor own = own_part(staging->tensor());
    auto exchange = host_->reduce_scatter_async(staging->tensor(), own);
    return std::make_unique<StagedPending>(std::move(staging), std::move(exchange), own, shard);
  }

  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int root) override {
    return host_->gather_bytes(message, root);
  }
  std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int root) override {
    return host_->broadcast_bytes(message, root);
  }
  void all_reduce(std::span<double> values, Reduction reduction) override { host_->all_reduce(values, reduction); }
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    host_->all_reduce(values, reduction);
  }
  void barrier() override { host_->barrier(); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_staged_communicator(host_->split(color, key));
  }

  Traffic traffic() const override { return host_->traffic(); }
  double seconds_waiting() const override { return host_->seconds_waiting(); }

 private:
  std::unique_ptr<Staging> downloaded(const Tensor& tensor) {
    auto staging = std::make_unique<Staging>(pool_, tensor);
    download_bytes(tensor, bytes_of(staging->tensor()));
    return staging;
  }

  Tensor own_part(const Tensor& whole) const {
    const std::int64_t elements = whole.elements() / size();
    return whole.flat_range(rank() * elements, elements);
  }

  std::unique_ptr<Communicator> host_;
  std::shared_ptr<ScratchPool> pool_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> host) {
  if (host->size() == 1) return host;  // serves every device
  return std::make_unique<StagedCommunicator>(std::move(host));
}

}  // namespace headroom
