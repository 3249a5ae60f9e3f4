// What a snapshot and the monitor hold does not depend on the layout: every layout of these ranks against one rank
// alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>

#include "analysis/monitor.h"
#include "analysis/snapshot_reader.h"
#include "analysis/snapshot_schema.h"
#include "tests/analysis/fake_model.h"
#include "tests/base/file_size_limit.h"
#include "tests/mpi_world.h"

namespace headroom {
namespace {

using test::FakeModel;

std::vector<Layout> layouts_of(int ranks) {
  std::vector<Layout> layouts;
  for (int tensor = 1; tensor <= ranks; ++tensor) {
    if (ranks % tensor == 0) layouts.push_back({ranks / tensor, tensor});
  }
  return layouts;
}

// Numbers alike, NaN in the same places; `tolerance` relative.
template <class T>
void expect_alike(const std::string& name, const std::vector<T>& found, const std::vector<T>& expected,
                  double tolerance) {
  ASSERT_EQ(found.size(), expected.size()) << name;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto a = static_cast<double>(found[i]);
    const auto b = static_cast<double>(expected[i]);
    ASSERT_EQ(std::isnan(a), std::isnan(b)) << name << "[" << i << "]";
    if (!std::isnan(a)) {
      ASSERT_NEAR(a, b, tolerance * std::abs(b)) << name << "[" << i << "]";
    }
  }
}

void expect_alike(const SnapshotReader& found, const SnapshotReader& expected) {
  const SnapshotFile& file = found.contents();
  const SnapshotFile& other = expected.contents();
  EXPECT_EQ(file.probe.ids, other.probe.ids);
  EXPECT_EQ(file.probe.pieces, other.probe.pieces);
  for (const Site site : kSites) {
    // The two are walked together: first the expected arrays' addresses by name, then the found ones against them.
    std::map<std::string, const void*> arrays;
    const SiteStatistics& theirs = other.sites.at(site);
    const SiteStatistics& ours = file.sites.at(site);
    snapshot_schema::for_each_array(
        theirs, theirs.layers, other.dims,
        [&](const char* name, const auto& values, const H5Dims&) { arrays[name] = &values; });
    snapshot_schema::for_each_array(ours, ours.layers, file.dims,
                                    [&]<class T>(const char* name, const std::vector<T>& values, const H5Dims&) {
                                      expect_alike(snapshot_schema::site_path(site) + name, values,
                                                   *static_cast<const std::vector<T>*>(arrays.at(name)), 0.0);
                                    });
  }
  // A padded sequence or another share of the heads may round the attention differently.
  expect_alike("mass_first", file.attention.mass_first, other.attention.mass_first, 1e-5);
  expect_alike("mass_bias", file.attention.mass_bias, other.attention.mass_bias, 1e-5);
  expect_alike("mass_rest", file.attention.mass_rest, other.attention.mass_rest, 1e-5);
  expect_alike("bias_mass", file.attention.bias_mass, other.attention.bias_mass, 1e-5);
  expect_alike("key_mass", file.attention.key_mass, other.attention.key_mass, 1e-5);
  expect_alike("sink_mass", file.attention.sink_mass, other.attention.sink_mass, 1e-5);
  expect_alike("sink_bias", file.attention.sink_bias, other.attention.sink_bias, 1e-5);
  EXPECT_EQ(file.weights.names, other.weights.names);
  expect_alike("weights/mean", file.weights.mean, other.weights.mean, 1e-5);
  expect_alike("weights/std", file.weights.std, other.weights.std, 1e-6);
  expect_alike("weights/max_abs", file.weights.max_abs, other.weights.max_abs, 0.0);
  ASSERT_EQ(found.raw_sequences(), expected.raw_sequences());
  for (const std::int64_t sequence : found.raw_sequences()) {
    EXPECT_EQ(found.raw_block_output(sequence), expected.raw_block_output(sequence));
    expect_alike("raw attention", found.raw_attention(sequence), expected.raw_attention(sequence), 1e-5);
    expect_alike("raw attention_bias", found.raw_attention_bias(sequence), expected.raw_attention_bias(sequence), 1e-5);
  }
}

TEST(SnapshotLayouts, EveryLayoutGivesTheSameFile) {
  const ProbeSet probe = test::fake_probe(true);
  std::string directory = ::testing::TempDir() + "snapshot_layouts_XXXXXX";
  EXPECT_NE(::mkdtemp(directory.data()), nullptr);
  for (const Layout& layout : layouts_of(test_runtime().size())) {
    for (const KvBiasKind kv_bias : {KvBiasKind::none, KvBiasKind::k}) {
      for (const DType dtype : {DType::f32, DType::f64}) {
        SCOPED_TRACE(fmt::format("layout {}x{}, {}", layout.data, layout.tensor, name_of(dtype)));
        // Three heads do not divide by two or four ranks: the last ranks hold padding.
        const ModelConfig config = FakeModel::config(kv_bias, 3);
        const std::filesystem::path path = directory + "/shared.h5";
        const Mesh mesh(test_runtime().world(), layout);
        const std::uintmax_t bytes = test::fake_snapshot(mesh, config, dtype, probe, path);
        EXPECT_GT(bytes, 0u);
        if (mesh.world().rank() == 0) {
          const std::filesystem::path alone_path = directory + "/alone.h5";
          test::fake_snapshot(Mesh::single(), config, dtype, probe, alone_path);
          EXPECT_NO_THROW(expect_alike(SnapshotReader::open(path), SnapshotReader::open(alone_path)));
        }
      }
    }
  }
  std::filesystem::remove_all(directory);
}

TEST(SnapshotLayouts, AFailureToWriteReachesEveryRank) {
  for (const Layout& layout : layouts_of(test_runtime().size())) {
    const Mesh mesh(test_runtime().world(), layout);
    try {
      test::fake_snapshot(mesh, FakeModel::config(KvBiasKind::none, 3), DType::f32, test::fake_probe(),
                          "/nonexistent/directory/snapshot.h5");
      ADD_FAILURE() << "no Error on rank " << mesh.world().rank();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::disk_full);
      EXPECT_NE(std::string(error.what()).find("/nonexistent/directory/snapshot.h5"), std::string::npos);
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

TEST(SnapshotLayouts, AFullDiskOnRank0ReachesEveryRankAndLeavesNothing) {
  std::string directory = ::testing::TempDir() + "snapshot_full_XXXXXX";
  EXPECT_NE(::mkdtemp(directory.data()), nullptr);
  for (const Layout& layout : layouts_of(test_runtime().size())) {
    const Mesh mesh(test_runtime().world(), layout);
    const bool root = mesh.world().rank() == 0;
    std::optional<test::FileSizeLimit> limit;
    if (root) limit.emplace(5000);
    std::string message;
    try {
      test::fake_snapshot(mesh, FakeModel::config(KvBiasKind::none, 3), DType::f32, test::fake_probe(),
                          directory + "/snapshot.h5");
      ADD_FAILURE() << "no Error on rank " << mesh.world().rank();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::disk_full);
      EXPECT_FALSE(error.hint().empty());
      message = error.what();
    }
    limit.reset();
    EXPECT_NE(message.find("File too large"), std::string::npos) << message;
    const auto bytes = std::as_bytes(std::span<const char>(message.data(), message.size()));
    const auto told = mesh.world().broadcast_bytes(bytes, 0);
    EXPECT_TRUE(std::ranges::equal(told, bytes)) << "rank " << mesh.world().rank() << ": " << message;
    EXPECT_TRUE(std::filesystem::is_empty(directory));
  }
  std::filesystem::remove_all(directory);
}

TEST(MonitorLayouts, EveryLayoutRecordsTheSame) {
  constexpr std::int64_t kLayers = 2;
  constexpr std::int64_t kSamples = 8;
  constexpr std::int64_t kSeq = 12;
  constexpr std::int64_t kHidden = 7;
  const auto value = [](std::int64_t layer, std::int64_t index) {
    const RandomStream stream(11, "monitor-layouts/" + std::to_string(layer));
    return static_cast<float>(stream.normal(static_cast<std::uint64_t>(index)));
  };
  // One rank's share of a step: its data rank's samples, its tensor rank's rows of them.
  const auto watch = [&](const Mesh& mesh) {
    const std::int64_t samples = kSamples / mesh.data().size();
    const std::int64_t first_sample = samples * mesh.data().rank();
    const std::int64_t rows = samples * kSeq / mesh.tensor().size();
    const std::int64_t first_row = rows * mesh.tensor().rank();
    Monitor monitor(kLayers, kHidden, Device::cpu);
    monitor.begin_step();
    monitor.begin_micro_batch(first_sample, kSeq);
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      std::vector<float> own(static_cast<std::size_t>(rows * kHidden));
      for (std::int64_t i = 0; i < rows * kHidden; ++i) {
        own[static_cast<std::size_t>(i)] = value(layer, (first_sample * kSeq + first_row) * kHidden + i);
      }
      monitor.hidden(Site::block_output, layer, Tensor::over(std::span(own), {rows, kHidden}), first_row);
    }
    return monitor.collect(mesh);
  };
  const MonitorRecord alone = watch(Mesh::single());
  for (const Layout& layout : layouts_of(test_runtime().size())) {
    SCOPED_TRACE(fmt::format("layout {}x{}", layout.data, layout.tensor));
    const MonitorRecord shared = watch(Mesh(test_runtime().world(), layout));
    EXPECT_EQ(shared.max, alone.max);
    EXPECT_EQ(shared.median, alone.median);
    EXPECT_EQ(shared.ratio, alone.ratio);
    EXPECT_EQ(shared.argmax, alone.argmax);
  }
}

}  // namespace
}  // namespace headroom
