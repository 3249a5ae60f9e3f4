// What the communicators of a GPU's tensors share: they stand on one of the host, which takes control messages and
// tensors in host memory as they come. Only how a device's tensors travel is their own.
#pragma once

#include <memory>
#include <utility>

#include "parallel/collective_checks.h"

namespace headroom {

class HostedCommunicator : public Communicator {
 public:
  int rank() const final { return host_->rank(); }
  int size() const final { return host_->size(); }

  void all_reduce(Tensor x, Reduction reduction) final {
    x.device() == Device::cpu ? host_->all_reduce(x, reduction) : reduce_on_device(x, reduction);
  }

  void all_gather(const Tensor& shard, Tensor whole) final { all_gather_async(shard, whole)->wait(); }
  std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) final {
    check_shard("all_gather", shard, whole, rank(), size());
    return whole.device() == Device::cpu ? host_->all_gather_async(shard, whole) : gather_on_device(shard, whole);
  }

  void reduce_scatter(const Tensor& whole, Tensor shard) final { reduce_scatter_async(whole, shard)->wait(); }
  std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) final {
    check_shard("reduce_scatter", shard, whole, rank(), size());
    return whole.device() == Device::cpu ? host_->reduce_scatter_async(whole, shard) : scatter_on_device(whole, shard);
  }

  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int root) final {
    return host_->gather_bytes(message, root);
  }
  std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int root) final {
    return host_->broadcast_bytes(message, root);
  }
  void all_reduce(std::span<double> values, Reduction reduction) final { host_->all_reduce(values, reduction); }
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) final { host_->all_reduce(values, reduction); }
  void barrier() final { host_->barrier(); }

 protected:
  explicit HostedCommunicator(std::unique_ptr<Communicator> host) : host_(std::move(host)) {}

  Communicator& host() const { return *host_; }

  // As the calls of the same names, for tensors of a GPU whose shapes have been checked.
  virtual void reduce_on_device(const Tensor& x, Reduction reduction) = 0;
  virtual std::unique_ptr<Pending> gather_on_device(const Tensor& shard, const Tensor& whole) = 0;
  virtual std::unique_ptr<Pending> scatter_on_device(const Tensor& whole, const Tensor& shard) = 0;

 private:
  std::unique_ptr<Communicator> host_;
};

}  // namespace headroom
