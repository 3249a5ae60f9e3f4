#include "parallel/imagined_communicator.h"

namespace headroom {
namespace {

class ImaginedCommunicator final : public Communicator {
 public:
  ImaginedCommunicator(int rank, int size) : rank_(rank), size_(size) {
    HEADROOM_CHECK(rank >= 0 && rank < size, "rank {} imagined in a group of {}", rank, size);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce(Tensor, Reduction) override { refuse("all_reduce"); }
  void all_gather(const Tensor&, Tensor) override { refuse("all_gather"); }
  std::unique_ptr<Pending> all_gather_async(const Tensor&, Tensor) override { refuse("all_gather"); }
  void reduce_scatter(const Tensor&, Tensor) override { refuse("reduce_scatter"); }
  std::unique_ptr<Pending> reduce_scatter_async(const Tensor&, Tensor) override { refuse("reduce_scatter"); }
  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte>, int) override { refuse("gather_bytes"); }
  std::vector<std::byte> broadcast_bytes(std::span<const std::byte>, int) override { refuse("broadcast_bytes"); }
  void all_reduce(std::span<double>, Reduction) override { refuse("all_reduce"); }
  void all_reduce(std::span<std::int64_t>, Reduction) override { refuse("all_reduce"); }
  void barrier() override { refuse("barrier"); }
  std::unique_ptr<Communicator> split(int, int) override { refuse("split"); }

  Traffic traffic() const override { return {}; }
  double seconds_waiting() const override { return 0.0; }

 private:
  [[noreturn]] void refuse(const char* call) const {
    throw Error(ExitCode::internal,
                fmt::format("{} among {} ranks that are only imagined: a dry run must not communicate", call, size_));
  }

  int rank_;
  int size_;
};

}  // namespace

std::unique_ptr<Communicator> make_imagined_communicator(int rank, int size) {
  return std::make_unique<ImaginedCommunicator>(rank, size);
}

}  // namespace headroom
