#include "parallel/staged_communicator.h"

#include <exception>

#include "parallel/hosted_communicator.h"
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

class StagedCommunicator final : public HostedCommunicator {
 public:
  explicit StagedCommunicator(std::unique_ptr<Communicator> host)
      : HostedCommunicator(std::move(host)), pool_(std::make_shared<ScratchPool>()) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    return make_staged_communicator(host().split(color, key));
  }

  Traffic traffic() const override { return host().traffic(); }
  double seconds_waiting() const override { return host().seconds_waiting(); }

 private:
  void reduce_on_device(const Tensor& x, Reduction reduction) override {
    const auto staging = downloaded(x);
    host().all_reduce(staging->tensor(), reduction);
    upload_bytes(bytes_of(staging->tensor()), x);
  }

  std::unique_ptr<Pending> gather_on_device(const Tensor& shard, const Tensor& whole) override {
    auto staging = std::make_unique<Staging>(pool_, whole);
    const Tensor all = staging->tensor();
    const Tensor own = own_part(all);
    download_bytes(shard, bytes_of(own));
    auto exchange = host().all_gather_async(own, all);
    return std::make_unique<StagedPending>(std::move(staging), std::move(exchange), all, whole);
  }

  std::unique_ptr<Pending> scatter_on_device(const Tensor& whole, const Tensor& shard) override {
    auto staging = downloaded(whole);
    const Tensor own = own_part(staging->tensor());
    auto exchange = host().reduce_scatter_async(staging->tensor(), own);
    return std::make_unique<StagedPending>(std::move(staging), std::move(exchange), own, shard);
  }

  std::unique_ptr<Staging> downloaded(const Tensor& tensor) {
    auto staging = std::make_unique<Staging>(pool_, tensor);
    download_bytes(tensor, bytes_of(staging->tensor()));
    return staging;
  }

  Tensor own_part(const Tensor& whole) const {
    const std::int64_t elements = whole.elements() / size();
    return whole.flat_range(rank() * elements, elements);
  }

  std::shared_ptr<ScratchPool> pool_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> host) {
  if (host->size() == 1) return host;  // serves every device
  return std::make_unique<StagedCommunicator>(std::move(host));
}

}  // namespace headroom
