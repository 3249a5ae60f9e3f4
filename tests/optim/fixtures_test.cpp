// AdamW and TVR against PyTorch (tests/fixtures/adamw.h5, tvr.h5; made by make_model_fixtures.py).
#include <gtest/gtest.h>

#include "base/hdf5.h"
#include "optim/adamw.h"
#include "optim/tvr.h"
#include "tensor/ops.h"
#include "tests/arena_for.h"
#include "tests/source_dir.h"

namespace headroom {
namespace {

H5File open_fixture(const char* name) {
  return H5File::open(test::source_dir() + "/tests/fixtures/" + name);
}

// A store with one weight of a block and, if wanted, its bias.
struct Store {
  Store(Shape shape, std::int64_t layer, bool bias) {
    parameters.declare({.name = "w.weight",
                        .logical = shape,
                        .partition = Partition::rows,
                        .layer = layer,
                        .decay = true,
                        .tvr = shape.rank() == 2},
                       0, 1);
    if (bias) {
      parameters.declare({.name = "w.bias",
                          .logical = {shape[0]},
                          .partition = Partition::rows,
                          .layer = layer,
                          .bias_of_tvr = "w.weight"},
                         0, 1);
    }
    parameters.finalize(DType::f64, 1, 16);  // small buckets: several segments a parameter
    memory = arena_for(parameters);
  }
  ParameterStore parameters;
  std::unique_ptr<Arena> memory;
};

void expect_near(const Tensor& actual, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.elements(), static_cast<std::int64_t>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(actual.data<double>()[i], expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << i;
  }
}

TEST(AdamW, FollowsPyTorchForFiveSteps) {
  const H5File file = open_fixture("adamw.h5");
  const std::vector<double> initial = file.read<double>("initial").values;
  const auto n = static_cast<std::int64_t>(initial.size());
  Store store({n}, 0, false);
  const Mesh mesh = Mesh::single();
  const OptimizerShard shard(store.parameters, 0, 1);
  OptimConfig config;
  config.beta1 = file.real_attribute("/", "beta1");
  config.beta2 = file.real_attribute("/", "beta2");
  config.eps = file.real_attribute("/", "eps");
  config.weight_decay = file.real_attribute("/", "weight_decay");
  AdamW optimizer(store.parameters, shard, mesh, config);
  const auto state = arena_for(optimizer);
  const Parameter& parameter = store.parameters.find("w.weight");
  std::copy(initial.begin(), initial.end(), parameter.value.data<double>());

  const auto lr = file.read<double>("lr").values;
  const auto gradients = file.read<double>("gradients").values;
  const auto parameters = file.read<double>("parameters").values;
  const auto m = file.read<double>("m").values;
  const auto v = file.read<double>("v").values;
  for (std::size_t step = 0; step < lr.size(); ++step) {
    const auto row = [&](const std::vector<double>& all) {
      const auto begin = all.begin() + static_cast<std::int64_t>(step) * n;
      return std::vector<double>(begin, begin + n);
    };
    const std::vector<double> gradient = row(gradients);
    std::copy(gradient.begin(), gradient.end(), parameter.gradient.data<double>());
    optimizer.update(static_cast<std::int64_t>(step) + 1, lr[step], Number(1.0));
    expect_near(parameter.value, row(parameters), 1e-13);
    expect_near(optimizer.first_moment().flat_range(0, n), row(m), 1e-13);
    expect_near(optimizer.second_moment().flat_range(0, n), row(v), 1e-13);
  }
}

class TvrFixture : public testing::TestWithParam<const char*> {};

TEST_P(TvrFixture, RescalesAsPublished) {
  const H5File file = open_fixture("tvr.h5");
  const std::string group = GetParam();
  const auto before = file.read<double>(group + "/before");
  const auto bias_before = file.read<double>(group + "/bias_before").values;
  Store store({before.dims[0], before.dims[1]}, file.int_attribute(group, "layer") - 1, true);
  const Mesh mesh = Mesh::single();
  const OptimizerShard shard(store.parameters, 0, 1);
  const Parameter& weight = store.parameters.find("w.weight");
  const Parameter& bias = store.parameters.find("w.bias");
  std::copy(before.values.begin(), before.values.end(), weight.value.data<double>());
  std::copy(bias_before.begin(), bias_before.end(), bias.value.data<double>());

  OptimConfig config;
  config.tvr.enabled = true;
  config.tvr.target = file.real_attribute(group, "target");
  config.tvr.threshold = file.real_attribute(group, "threshold");
  config.tvr.layer_scaled = file.int_attribute(group, "layer_scaled") != 0;
  Tvr tvr(store.parameters, shard, mesh, config);
  const auto tables = arena_for(tvr);
  tvr.apply({store.parameters.values(), {}}, Number(1.0));
  const TvrReport report = tvr.report();

  EXPECT_EQ(report.matrices, 1);
  EXPECT_EQ(report.rescaled, file.int_attribute(group, "rescaled"));
  EXPECT_NEAR(report.mean_std, file.real_attribute(group, "std_after"), 1e-12);
  expect_near(weight.value, file.read<double>(group + "/after").values, 1e-12);
  expect_near(bias.value, file.read<double>(group + "/bias_after").values, 0.0);
}

INSTANTIATE_TEST_SUITE_P(PyTorch, TvrFixture,
                         testing::Values("shrunk", "below_threshold", "just_above", "layer_scaled"));

TEST(Tvr, IsDueByTheStepAlone) {
  const Store store({3, 2}, 0, false);
  const Mesh mesh = Mesh::single();
  const OptimizerShard shard(store.parameters, 0, 1);
  OptimConfig config;
  EXPECT_FALSE(Tvr(store.parameters, shard, mesh, config).due(50));
  config.tvr.enabled = true;
  config.tvr.interval = 7;
  const Tvr tvr(store.parameters, shard, mesh, config);
  EXPECT_FALSE(tvr.due(6));
  EXPECT_TRUE(tvr.due(7));
  EXPECT_TRUE(tvr.due(700));
}

}  // namespace
}  // namespace headroom
