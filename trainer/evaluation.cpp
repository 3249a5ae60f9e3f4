#include "trainer/evaluation.h"

#include <array>

#include "trainer/stop_request.h"

namespace headroom {

LossSum sum_over_data(const LossSum& local, Communicator& data) {
  std::array<double, 2> sums{local.nll, static_cast<double>(local.tokens)};
  data.all_reduce(std::span<double>(sums), Reduction::sum);
  return {sums[0], static_cast<std::int64_t>(sums[1])};
}

std::optional<LossSum> evaluate_held_out(Transformer& model, const HeldOut& windows, std::int64_t micro_batch,
                                         const Mesh& mesh) {
  const auto ranks = static_cast<std::uint64_t>(mesh.data().size());
  const auto rank = static_cast<std::uint64_t>(mesh.data().rank());
  const auto batch = static_cast<std::uint64_t>(micro_batch);
  LossSum local;
  // Every rank makes the same number of passes: windows past the end carry no targets.
  for (std::uint64_t first = 0; first < windows.windows(); first += batch * ranks) {
    if (stop_agreed(mesh.world())) return std::nullopt;
    local += model.evaluate(windows.read(first + rank * batch, micro_batch, model.config().vocab_size), nullptr);
  }
  return sum_over_data(local, mesh.data());
}

}  // namespace headroom
