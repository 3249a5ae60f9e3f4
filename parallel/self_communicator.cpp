// A rank alone: every collective is a copy or nothing.
#include <cstring>

#include "parallel/communicator.h"

namespace headroom {
namespace {

class Done final : public Pending {
 public:
  bool progress() override { return true; }
  void wait() override {}
};

class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }

  void all_reduce(Tensor, Reduction) override {}
  void all_gather(const Tensor& shard, Tensor whole) override { copy(shard, whole); }
  std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) override {
    copy(shard, whole);
    return std::make_unique<Done>();
  }
  void reduce_scatter(const Tensor& whole, Tensor shard) override { copy(whole, shard); }
  std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) override {
    copy(whole, shard);
    return std::make_unique<Done>();
  }
  void broadcast(Tensor, int) override {}

  std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int) override {
    return {broadcast_bytes(message, 0)};
  }
  std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int) override {
    return {message.begin(), message.end()};
  }
  void all_reduce(std::span<double>, Reduction) override {}
  void all_reduce(std::span<std::int64_t>, Reduction) override {}
  void barrier() override {}
  std::unique_ptr<Communicator> split(int, int) override { return make_self_communicator(); }
  Traffic traffic() const override { return {}; }

 private:
  static void copy(const Tensor& from, const Tensor& to) {
    HEADROOM_CHECK(from.elements() == to.elements() && from.dtype() == to.dtype(), "a group of one: {} into {}",
                   from.shape().text(), to.shape().text());
    if (from.raw() != to.raw()) std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(from.bytes()));
  }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() { return std::make_unique<SelfCommunicator>(); }

}  // namespace headroom
