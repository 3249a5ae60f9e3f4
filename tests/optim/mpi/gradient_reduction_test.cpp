// Gradients summed over the ranks: to the right numbers in rank order, and while the backward still runs.
#include "optim/gradient_reduction.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/transformer.h"
#include "tests/arena_for.h"
#include "tests/model/tiny_model.h"
#include "tests/mpi_world.h"

namespace headroom {
namespace {

// What a rank contributes to element i: another number on every rank, of such sizes that the order of a sum shows.
double contribution(int rank, std::int64_t i) {
  return std::sin(static_cast<double>(i + 1)) * std::pow(10.0, (rank * 7 + i) % 11 - 5);
}

double sum_of_contributions(const std::vector<int>& ranks, std::int64_t i) {
  double sum = contribution(ranks[0], i);
  for (std::size_t next = 1; next < ranks.size(); ++next) sum += contribution(ranks[next], i);
  return sum;
}

// World ranks that hold the same tensor shard, in data order.
std::vector<int> data_group(const Mesh& mesh) {
  std::vector<int> ranks;
  for (int data = 0; data < mesh.data().size(); ++data) {
    ranks.push_back(data * mesh.tensor().size() + mesh.tensor().rank());
  }
  return ranks;
}

// A split matrix of 640 elements a rank and a replicated vector; buckets of 64 elements.
std::unique_ptr<Arena> declare_parameters(ParameterStore& store, const Mesh& mesh) {
  const int tensor = mesh.tensor().size();
  store.declare({.name = "late", .logical = {32 * tensor, 10}, .partition = Partition::rows, .stage = 1},
                mesh.tensor().rank(), tensor);
  store.declare({.name = "early", .logical = {32 * tensor, 10}, .partition = Partition::rows, .stage = 0},
                mesh.tensor().rank(), tensor);
  store.declare({.name = "norm", .logical = {33}}, mesh.tensor().rank(), tensor);
  store.finalize(DType::f64, mesh.data().size(), 64);
  return arena_for(store);
}

TEST(GradientReduction, SumsInRankOrderStepAfterStep) {
  const int ranks = test_runtime().size();
  for (int tensor = 1; tensor <= ranks; tensor *= 2) {
    SCOPED_TRACE(fmt::format("{}x{}", ranks / tensor, tensor));
    const Mesh mesh(test_runtime().world(), {ranks / tensor, tensor});
    ParameterStore store;
    const auto memory = declare_parameters(store, mesh);
    const OptimizerShard shard(store, mesh.data().rank(), mesh.data().size());
    GradientReduction reduction(store, shard, mesh);
    const auto gradients = store.gradients().span<double>();
    for (int step = 0; step < 2; ++step) {
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        gradients[i] = contribution(mesh.world().rank(), static_cast<std::int64_t>(i));
      }
      reduction.ready(store.ready_end(1));
      reduction.ready(store.ready_end(1));
      reduction.ready(store.ready_end(0));
      reduction.finish();
      for (const Bucket& bucket : store.buckets()) {
        const Bucket own = shard.slot(bucket);
        for (std::int64_t i = own.offset; i < own.offset + own.size && i < store.replicated_begin(); ++i) {
          ASSERT_EQ(gradients[static_cast<std::size_t>(i)], sum_of_contributions(data_group(mesh), i)) << i;
        }
      }
    }
  }
}

TEST(GradientReduction, SumsReplicatedGradientsOverAllRanks) {
  const int ranks = test_runtime().size();
  for (int tensor = 1; tensor <= ranks; tensor *= 2) {
    SCOPED_TRACE(fmt::format("{}x{}", ranks / tensor, tensor));
    const Mesh mesh(test_runtime().world(), {ranks / tensor, tensor});
    ParameterStore store;
    const auto memory = declare_parameters(store, mesh);
    const OptimizerShard shard(store, mesh.data().rank(), mesh.data().size());
    GradientReduction reduction(store, shard, mesh);
    for (double& gradient : store.find("norm").gradient.span<double>()) gradient = 1.0 + mesh.world().rank();
    reduction.finish();  // without a word of what is ready
    for (const Segment& segment : shard.segments()) {
      if (store[segment.parameter].name != "norm") continue;
      for (const double sum : store.gradients().flat_range(segment.flat, segment.length).span<double>()) {
        EXPECT_EQ(sum, ranks * (ranks + 1) / 2.0);
      }
    }
  }
}

// The share of this rank's slots that already held the sums over the data ranks when the backward was over.
double share_reduced_in_the_backward(Transformer& model, const Mesh& mesh) {
  ParameterStore& store = model.parameters();
  const OptimizerShard shard(store, mesh.data().rank(), mesh.data().size());
  GradientReduction reduction(store, shard, mesh);
  const Batch batch = tiny::batch(1, 8, model.config().vocab_size);
  ops::zero(store.gradients());
  model.forward_backward(batch, 1.0, nullptr, [&](std::int64_t flat_end) {
    reduction.ready(flat_end);
    mesh.world().barrier();  // ranks that do the same work at the same time, on a busy machine too
  });
  const auto gradients = store.gradients().span<float>();
  const std::vector<float> before(gradients.begin(), gradients.end());
  reduction.finish();
  double reduced = 0.0;
  double all = 0.0;
  for (const Bucket& bucket : store.buckets()) {
    const Bucket own = shard.slot(bucket);
    for (std::int64_t i = own.offset; i < own.offset + own.size; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (gradients[at] == 0.0f) continue;  // a sum that tells nothing
      reduced += before[at] == gradients[at] ? 1.0 : 0.0;
      all += 1.0;
    }
  }
  return reduced / all;
}

// Layers of several buckets and 10 MB each; only what is final last, a layer and the embedding, cannot be on its way
// before the backward ends.
TEST(GradientReduction, MovesMostBytesWhileTheBackwardRuns) {
  const int ranks = test_runtime().size();
  if (ranks == 1) return;  // nothing to reduce
  ModelConfig config = tiny::config();
  config.hidden_size = 512;
  config.head_dim = 128;
  config.ffn_size = 1024;
  config.n_layers = 4;
  config.init.std = 0.02;
  const Mesh mesh(test_runtime().world(), {ranks, 1});
  Transformer model(resolved(config), mesh, {.bucket_elements = std::int64_t{1} << 19});
  model.plan(1, 8);
  model.parameters().initialize(3);
  EXPECT_GT(share_reduced_in_the_backward(model, mesh), 0.6);
}

}  // namespace
}  // namespace headroom
