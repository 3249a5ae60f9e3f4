// Tensor parallelism against one rank, in float64: the loss, and every slice of every gradient, for every kind of
// module and switch.
#include <gtest/gtest.h>

#include "model/transformer.h"
#include "tests/model/tiny_model.h"
#include "tests/mpi_world.h"

namespace headroom {
namespace {

// The slice of a whole gradient that a shard should hold: element (r, c) of it.
double whole_at(const Parameter& whole, const Parameter& shard, std::int64_t row, std::int64_t column) {
  const std::int64_t columns = whole.local.rank() == 2 ? whole.local[1] : 1;
  const bool by_columns = shard.partition == Partition::columns;
  const bool replicated = shard.partition == Partition::replicated;
  const std::int64_t from_row = by_columns || replicated ? row : shard.first + row;
  const std::int64_t from_column = by_columns ? shard.first + column : column;
  return whole.gradient.data<double>()[from_row * columns + from_column];
}

void expect_slices(const Transformer& whole, const Transformer& sharded) {
  for (std::size_t index = 0; index < whole.parameters().all().size(); ++index) {
    const Parameter& all = whole.parameters()[index];
    const Parameter& part = sharded.parameters()[index];
    const bool by_columns = part.partition == Partition::columns;
    const std::int64_t columns = part.local.rank() == 2 ? part.local[1] : 1;
    const std::int64_t rows = part.local[0];
    double worst = 0.0;
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = 0; column < columns; ++column) {
        const std::int64_t along = by_columns ? column : row;
        const bool padding = part.partition != Partition::replicated && along >= part.real;
        const double expected = padding ? 0.0 : whole_at(all, part, row, column);
        worst = std::max(worst, std::abs(part.gradient.data<double>()[row * columns + column] - expected));
      }
    }
    EXPECT_LT(worst, 1e-10) << part.name;
  }
}

TEST(TensorParallel, LossAndGradientsAreThoseOfOneRank) {
  auto world = test_runtime().world();
  const int ranks = world->size();
  const Mesh mesh(std::move(world), {1, ranks});
  const Mesh alone = Mesh::single();
  for (const tiny::Variant& variant : tiny::all_variants()) {
    ModelConfig config = variant.config;
    if (config.n_kv_heads % ranks != 0) {  // two of them over four ranks: twice the heads, still in groups
      config.n_heads = 8;
      config.n_kv_heads = 4;
    }
    config.n_layers = 2;
    SCOPED_TRACE(variant.name);
    const Batch batch = tiny::batch(2, 6, config.vocab_size);  // 12 rows; 29 words, which no rank count divides
    const TransformerOptions options{.dtype = DType::f64, .loss_chunk = 7};
    Transformer one(config, alone, options);
    Transformer part(config, mesh, options);
    one.plan(2, 6);
    part.plan(2, 6);
    one.parameters().initialize(3);
    part.parameters().initialize(3);
    const LossSum expected = tiny::run(one, batch, 0.5);
    const LossSum loss = tiny::run(part, batch, 0.5);
    mesh.tensor().all_reduce(part.parameters().replicated_gradients(), Reduction::sum);
    EXPECT_EQ(loss.tokens, expected.tokens);
    EXPECT_NEAR(loss.nll, expected.nll, 1e-11 * expected.nll);
    EXPECT_NEAR(part.evaluate(batch, nullptr).nll, expected.nll, 1e-11 * expected.nll);
    expect_slices(one, part);
  }
}

TEST(TensorParallel, RecomputationAgreesToo) {
  auto world = test_runtime().world();
  const int ranks = world->size();
  const Mesh mesh(std::move(world), {1, ranks});
  const Mesh alone = Mesh::single();
  ModelConfig config = resolved(tiny::config());
  config.n_layers = 3;
  const Batch batch = tiny::batch(4, 3, config.vocab_size);
  Transformer one(config, alone, {.dtype = DType::f64});
  Transformer part(config, mesh, {.dtype = DType::f64, .recompute = Recompute::block});
  one.plan(4, 3);
  part.plan(4, 3);
  one.parameters().initialize(3);
  part.parameters().initialize(3);
  tiny::run(one, batch);
  tiny::run(part, batch);
  mesh.tensor().all_reduce(part.parameters().replicated_gradients(), Reduction::sum);
  expect_slices(one, part);
}

TEST(TensorParallel, RefusesWhatDoesNotDivideWithTheNumbers) {
  ModelConfig config = resolved(tiny::config());
  const auto message = [&](std::int64_t rows, int tensor) -> std::string {
    try {
      validate(config, rows, tensor);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(12, 2), "");
  EXPECT_EQ(message(13, 2),
            "tokens of a micro-batch (train.micro_batch * model.seq_len) = 13 cannot be split over parallel.tensor = 2 "
            "ranks");
  EXPECT_EQ(message(12, 3), "model.n_heads = 4 cannot be split over parallel.tensor = 3 ranks");
  config.n_kv_heads = 1;
  EXPECT_EQ(message(12, 2), "model.n_kv_heads = 1 cannot be split over parallel.tensor = 2 ranks");
}

}  // namespace
}  // namespace headroom
