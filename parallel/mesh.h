// Ranks arranged as data x tensor. Tensor-parallel neighbours are adjacent ranks, so that they share a node.
//   world rank = data_rank * tensor_size + tensor_rank
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace headroom {

struct Layout {
  int data = 1;
  int tensor = 1;

  int ranks() const { return data * tensor; }
  bool operator==(const Layout&) const = default;
};

class Mesh {
 public:
  // Collective over `world`. Throws ExitCode::bad_config naming the numbers when the layout's product is not the
  // number of ranks.
  Mesh(std::unique_ptr<Communicator> world, Layout layout);

  // One rank alone.
  static Mesh single();

  const Layout& layout() const { return layout_; }
  Communicator& world() const { return *world_; }
  Communicator& data() const { return *data_; }      // the ranks that hold the same shards
  Communicator& tensor() const { return *tensor_; }  // the ranks that hold one model together

 private:
  Layout layout_;
  std::unique_ptr<Communicator> world_;
  std::unique_ptr<Communicator> data_;
  std::unique_ptr<Communicator> tensor_;
};

}  // namespace headroom
