// Ranks arranged as data x tensor. Tensor-parallel neighbours are adjacent ranks, so that they share a node.
//   world rank = data_rank * tensor_size + tensor_rank
#pragma once

#include <memory>
#include <string>

#include "parallel/device_communicator.h"

namespace headroom {

struct Layout {
  int data = 1;
  int tensor = 1;

  int ranks() const { return data * tensor; }
  bool operator==(const Layout&) const = default;
};

class Mesh {
 public:
  // Collective over `world`, which stays the group for control: it exchanges host memory alone. The others exchange
  // the tensors of `device`, a GPU that must be selected before (parallel/local_gpu.h). Throws ExitCode::bad_config
  // naming the numbers when the layout's product is not the number of ranks, and as choose_transport does.
  Mesh(std::unique_ptr<Communicator> world, Layout layout, Device device = Device::cpu,
       Transport transport = Transport::automatic);

  // One rank alone; serves tensors of every device.
  static Mesh single();

  // The place of one rank in a layout, without the ranks: for dry runs. Its groups cannot communicate
  // (parallel/imagined_communicator.h).
  static Mesh imagined(Layout layout, int rank);

  const Layout& layout() const { return layout_; }
  Communicator& world() const { return *world_; }
  Communicator& data() const { return *data_; }      // the ranks that hold the same shards
  Communicator& tensor() const { return *tensor_; }  // the ranks that hold one model together

  // How tensors are exchanged, in words for the start-up: "MPI", "NCCL", "MPI through host memory: ranks 0 and 1 share
  // a GPU (...)"; empty for one rank.
  const std::string& transport() const { return transport_; }

 private:
  Mesh(Layout layout, std::unique_ptr<Communicator> world, std::unique_ptr<Communicator> data,
       std::unique_ptr<Communicator> tensor);

  Layout layout_;
  std::unique_ptr<Communicator> world_;
  std::unique_ptr<Communicator> data_;
  std::unique_ptr<Communicator> tensor_;
  std::string transport_;
};

}  // namespace headroom
