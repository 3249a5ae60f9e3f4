// The Communicator over NCCL, for the tensors of a GPU. Tensors in host memory and control messages go the host's way.
#include <exception>

#include "parallel/cuda/nccl_group.h"
#include "parallel/hosted_communicator.h"
#include "parallel/nccl_entry.h"

namespace headroom::cuda {
namespace {

ncclDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
    case DType::bf16:
      return ncclBfloat16;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
  }
  return ncclNumTypes;
}

std::size_t count(const Tensor& tensor) {
  return static_cast<std::size_t>(tensor.elements());
}

// Waiting puts the operations after the collective; the host goes on.
class NcclPending final : public Pending {
 public:
  // `work` is null where there was nothing to do.
  NcclPending(std::shared_ptr<NcclGroup> group, std::shared_ptr<NcclWork> work)
      : group_(std::move(group)), work_(std::move(work)), unwinding_at_start_(std::uncaught_exceptions()) {}

  // While an exception unwinds the stack nothing shall wait for ranks that may never take part, the device neither.
  ~NcclPending() override {
    if (std::uncaught_exceptions() == unwinding_at_start_) {
      wait();
    } else if (work_ != nullptr) {
      group_->give_up();
    }
  }
  NcclPending(const NcclPending&) = delete;
  NcclPending& operator=(const NcclPending&) = delete;

  bool progress() override {
    if (work_ != nullptr && work_->finished()) work_.reset();
    return work_ == nullptr;
  }

  void wait() override {
    if (work_ != nullptr) group_->order_after(*work_);
    work_.reset();
  }

 private:
  std::shared_ptr<NcclGroup> group_;
  std::shared_ptr<NcclWork> work_;
  int unwinding_at_start_;
};

class NcclCommunicator final : public HostedCommunicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, std::shared_ptr<NcclGroup> group)
      : HostedCommunicator(std::move(host)), group_(std::move(group)) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    std::unique_ptr<Communicator> part = host().split(color, key);
    std::shared_ptr<NcclGroup> group = group_->split(color, key, *part);
    if (group == nullptr) return part;  // one rank alone, which serves every device
    return std::make_unique<NcclCommunicator>(std::move(part), std::move(group));
  }

  Traffic traffic() const override { return {host().traffic().bytes + sent_}; }
  double seconds_waiting() const override { return host().seconds_waiting() + group_->seconds_stalled(); }

 private:
  void reduce_on_device(const Tensor& x, Reduction reduction) override {
    const ncclRedOp_t op = reduction == Reduction::sum ? ncclSum : ncclMax;
    const Announcement call{Collective::all_reduce, x.dtype(), reduction, 0, x.elements()};
    exchange(call, [&](ncclComm_t comm, cudaStream_t stream) {
      return nccl().AllReduce(x.raw(), x.raw(), count(x), data_type(x.dtype()), op, comm, stream);
    })->wait();
    sent_ += 2 * (size() - 1) * x.bytes() / size();
  }

  std::unique_ptr<Pending> gather_on_device(const Tensor& shard, const Tensor& whole) override {
    sent_ += (size() - 1) * shard.bytes();
    const Announcement call{Collective::all_gather, whole.dtype(), Reduction::sum, 0, whole.elements()};
    return exchange(call, [&](ncclComm_t comm, cudaStream_t stream) {
      return nccl().AllGather(shard.raw(), whole.raw(), count(shard), data_type(shard.dtype()), comm, stream);
    });
  }

  std::unique_ptr<Pending> scatter_on_device(const Tensor& whole, const Tensor& shard) override {
    sent_ += (size() - 1) * shard.bytes();
    const Announcement call{Collective::reduce_scatter, whole.dtype(), Reduction::sum, 0, whole.elements()};
    return exchange(call, [&](ncclComm_t comm, cudaStream_t stream) {
      return nccl().ReduceScatter(whole.raw(), shard.raw(), count(shard), data_type(shard.dtype()), ncclSum, comm,
                                  stream);
    });
  }

  std::unique_ptr<Pending> exchange(const Announcement& call, const NcclGroup::Issue& issue) {
    return std::make_unique<NcclPending>(group_, call.elements == 0 ? nullptr : group_->start(call, issue));
  }

  std::shared_ptr<NcclGroup> group_;
  std::int64_t sent_ = 0;
};

}  // namespace
}  // namespace headroom::cuda

__attribute__((visibility("default"))) const char* headroom_why_no_nccl() {
  const std::string& reason = headroom::cuda::why_no_nccl();
  return reason.empty() ? nullptr : reason.c_str();
}

__attribute__((visibility("default"))) void headroom_wrap_in_nccl(std::unique_ptr<headroom::Communicator>* communicator,
                                                                  void (*abort_ranks)(int status)) {
  auto group = headroom::cuda::NcclGroup::over(**communicator, abort_ranks);
  *communicator = std::make_unique<headroom::cuda::NcclCommunicator>(std::move(*communicator), std::move(group));
}
