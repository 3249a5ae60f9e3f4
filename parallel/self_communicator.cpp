// A group of one: every collective is a copy within the rank's own memory, or nothing. No library behind it.
#include <cstring>

#include "parallel/collective_checks.h"
#include "parallel/communicator.h"
#include "tensor/ops.h"

namespace headroom {
namespace {

class Finished final : public Pending {
 public:
  bool progress() override { return true; }
  void wait() override {}
};

class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }

  void all_reduce(Tensor, Reduction) override {}

  void all_gather(const Tensor& shard, Tensor whole) override { copy("all_gather", shard, whole, shard, whole); }
  std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) override {
    all_gather(shard, whole);
    return std::make_unique<Finished>();
  }

  void reduce_scatter(const Tensor& whole, Tensor shard) override {
    copy("reduce_scatter", shard, whole, whole, shard);
  }
  std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) override {
    reduce_scatter(whole, shard);
    return std::make_unique<Finished>();
  }

  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int root) override {
    check_root(root, 1);
    return {{message.begin(), message.end()}};
  }
  std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int root) override {
    check_root(root, 1);
    return {message.begin(), message.end()};
  }

  void all_reduce(std::span<double>, Reduction) override {}
  void all_reduce(std::span<std::int64_t>, Reduction) override {}

  void barrier() override {}

  std::unique_ptr<Communicator> split(int color, int) override {
    HEADROOM_CHECK(color >= 0, "split with color {}", color);
    return make_self_communicator();
  }

  Traffic traffic() const override { return {}; }
  double seconds_waiting() const override { return 0.0; }

 private:
  void copy(const char* collective, const Tensor& shard, const Tensor& whole, const Tensor& from, const Tensor& to) {
    check_shard(collective, shard, whole, 0, 1);
    if (from.raw() == to.raw() || from.elements() == 0) return;
    if (from.device() == Device::cpu) {
      std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(from.bytes()));
    } else {
      ops::copy(from.flat_range(0, from.elements()), to.flat_range(0, to.elements()));
    }
  }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace headroom
