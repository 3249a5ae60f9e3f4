// The rows of a micro-batch spread evenly over the tensor ranks (Megatron's sequence parallelism, arXiv 2205.05198):
// the residual stream, norms and embeddings work on a rank's own rows, linear layers on all of them.
#pragma once

#include "parallel/communicator.h"

namespace headroom {

class RowShards {
 public:
  // `rows` must divide by the ranks of `tensor`.
  RowShards(Communicator& tensor, std::int64_t rows)
      : tensor_(&tensor), local_(rows / tensor.size()), first_(local_ * tensor.rank()) {
    HEADROOM_CHECK(rows % tensor.size() == 0, "{} rows over {} tensor ranks", rows, tensor.size());
  }

  bool alone() const { return tensor_->size() == 1; }
  std::int64_t local_rows() const { return local_; }
  std::int64_t first_row() const { return first_; }

  // This rank's rows of a tensor that holds all.
  Tensor own(const Tensor& whole) const { return whole.row_range(first_, local_); }

  // Every rank's own rows to every rank, in place.
  void gather(Tensor whole) const {
    if (!alone()) tensor_->all_gather(own(whole), whole);
  }

  // local [local rows, C] = this rank's rows of the sum over ranks of `whole`. With one rank they may be the same
  // memory, and then nothing happens.
  void sum(const Tensor& whole, Tensor local) const {
    if (!(alone() && whole.raw() == local.raw())) tensor_->reduce_scatter(whole, local);
  }

 private:
  Communicator* tensor_;
  std::int64_t local_;
  std::int64_t first_;
};

}  // namespace headroom
