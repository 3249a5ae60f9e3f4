#include "optim/shard.h"

#include <algorithm>

namespace headroom {

OptimizerShard::OptimizerShard(const ParameterStore& store, int data_rank, int data_size)
    : data_rank_(data_rank), data_size_(data_size) {
  const std::vector<Parameter>& parameters = store.all();
  for (const Bucket& bucket : store.buckets()) {
    const Bucket own = slot(bucket);
    for (std::size_t index = 0; index < parameters.size(); ++index) {
      const std::int64_t begin = std::max(own.offset, parameters[index].offset);
      const std::int64_t end = std::min(own.offset + own.size, parameters[index].offset + parameters[index].elements());
      if (begin < end) segments_.push_back({index, begin, state_elements_ + begin - own.offset, end - begin});
    }
    state_elements_ += own.size;
  }
}

Bucket OptimizerShard::slot(const Bucket& bucket) const {
  const std::int64_t size = bucket.size / data_size_;
  return {bucket.offset + data_rank_ * size, size};
}

}  // namespace headroom
