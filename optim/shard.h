// Which part of the flat parameter block a data rank updates (ZeRO-1, arXiv 1910.02054): its slot of every bucket,
// cut at the borders of parameters so that every piece belongs to one logical tensor.
#pragma once

#include <cstdint>
#include <vector>

#include "model/parameters.h"

namespace headroom {

// A run of flat elements of one parameter.
struct Segment {
  std::size_t parameter;
  std::int64_t flat;   // first element in the parameter block
  std::int64_t state;  // first element in the rank's optimizer state
  std::int64_t length;
};

class OptimizerShard {
 public:
  OptimizerShard(const ParameterStore& store, int data_rank, int data_size);

  const std::vector<Segment>& segments() const { return segments_; }
  std::int64_t state_elements() const { return state_elements_; }

  // This rank's slot of a bucket.
  Bucket slot(const Bucket& bucket) const;

 private:
  int data_rank_;
  int data_size_;
  std::vector<Segment> segments_;
  std::int64_t state_elements_ = 0;
};

}  // namespace headroom
