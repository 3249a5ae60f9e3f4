// From known tensors through a snapshot file and back: every number is where the format says, and files that are no
// snapshots are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "analysis/snapshot_reader.h"
#include "analysis/snapshot_writer.h"
#include "analysis/statistics.h"
#include "base/error.h"
#include "base/seal.h"
#include "tests/analysis/fake_model.h"
#include "tests/base/file_size_limit.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

using test::FakeModel;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The Error that `action` throws; a test failure if it throws none.
Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no Error was thrown";
  return {ExitCode::done, ""};
}

class SnapshotTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "snapshot_test_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path take(KvBiasKind kv_bias, DType dtype = DType::f32) const {
    const std::filesystem::path path = directory_ / "step-00000100.h5";
    const Mesh mesh = Mesh::single();
    const auto bytes = test::fake_snapshot(mesh, FakeModel::config(kv_bias, 3), dtype, probe_, path);
    EXPECT_EQ(bytes, std::filesystem::file_size(path));
    return path;
  }

  Batch batch_of(std::size_t sequence) const {
    Batch batch;
    batch.ids = probe_.sequences[sequence].ids;
    return batch;
  }

  std::vector<float> hidden_of(Site site, std::int64_t layer, std::size_t sequence) const {
    std::vector<float> h;
    const auto tokens = static_cast<std::int64_t>(probe_.sequences[sequence].ids.size());
    for (std::int64_t row = 0; row < tokens; ++row) {
      for (std::int64_t channel = 0; channel < 11; ++channel) {
        h.push_back(static_cast<float>(FakeModel::hidden_value(site, layer, row, channel, batch_of(sequence))));
      }
    }
    return h;
  }

  std::filesystem::path directory_;
  ProbeSet probe_ = test::fake_probe();
};

TEST_F(SnapshotTest, ProvenanceAndProbeComeBack) {
  const SnapshotReader reader = SnapshotReader::open(take(KvBiasKind::none));
  const SnapshotFile& file = reader.contents();
  EXPECT_EQ(file.provenance.step, 100);
  EXPECT_EQ(file.provenance.tokens_seen, 204800);
  EXPECT_EQ(file.provenance.run, "fake");
  EXPECT_EQ(file.provenance.variant, "TVR + DyT");
  EXPECT_EQ(file.provenance.config, "[model]\nhidden_size = 11\n");
  EXPECT_EQ(file.provenance.corpus_fingerprint, "42");
  EXPECT_EQ(file.created.size(), std::string("2000-01-01T00:00:00Z").size());
  EXPECT_GT(file.seconds, 0.0);
  EXPECT_EQ(file.dims.layers, 3);
  EXPECT_EQ(file.dims.sequences, 5);
  EXPECT_EQ(file.dims.tokens, 11);
  EXPECT_EQ(file.dims.hidden, 11);
  EXPECT_EQ(file.dims.heads, 3);
  EXPECT_EQ(file.dims.top_k, 6);
  EXPECT_EQ(file.dims.bins, kHistogramBins);
  EXPECT_THAT(file.probe.lengths, ElementsAre(5, 2, 9, 7, 11));
  EXPECT_THAT(file.probe.bos, ElementsAre(1, 0, 1, 0, 0));
  EXPECT_THAT(file.probe.kind, ElementsAre("sentence", "sentence", "calibration", "calibration", "calibration"));
  EXPECT_EQ(file.probe.text[1], "sequence of 2");
  EXPECT_EQ(file.probe.ids[11], 6);       // the second sequence's first
  EXPECT_EQ(file.probe.ids[11 + 2], -1);  // past its end
  EXPECT_EQ(file.probe.pieces[11], "▁p6");
  EXPECT_EQ(file.probe.pieces[11 + 2], "");
  EXPECT_EQ(file.probe.notes, "only 3 of 4 windows\nno tokenizer");
  EXPECT_THAT(reader.raw_sequences(), ElementsAre(0, 1));
}

TEST_F(SnapshotTest, StatisticsAreThoseOfTheTensorsShown) {
  const SnapshotReader reader = SnapshotReader::open(take(KvBiasKind::none));
  for (const Site site : kSites) {
    const SiteStatistics& s = reader.contents().sites.at(site);
    EXPECT_THAT(s.edges, ::testing::Eq(histogram_edges()));
    for (std::int64_t layer = 0; layer < s.layers; ++layer) {
      for (std::int64_t i = 0; i < s.sequences; ++i) {
        const auto h = hidden_of(site, layer, static_cast<std::size_t>(i));
        const auto tokens = static_cast<std::int64_t>(h.size()) / 11;
        const HiddenStatistics expected = hidden_statistics<float>(h, tokens, 11, 6);
        const std::size_t at = s.at(layer, i);
        EXPECT_EQ(s.max_abs[at], static_cast<float>(expected.max_abs));
        EXPECT_EQ(s.median_abs[at], static_cast<float>(expected.median_abs));
        EXPECT_EQ(s.rms[at], static_cast<float>(expected.rms));
        EXPECT_EQ(s.mean[at], static_cast<float>(expected.mean));
        EXPECT_EQ(s.std[at], static_cast<float>(expected.std));
        EXPECT_EQ(s.kurtosis[at], static_cast<float>(expected.kurtosis));
        EXPECT_EQ(s.mmr_mean[at], static_cast<float>(expected.mmr_mean));
        EXPECT_EQ(s.mmr_max[at], static_cast<float>(expected.mmr_max));
        EXPECT_EQ(s.beyond_e4m3[at], static_cast<float>(expected.beyond_e4m3));
        EXPECT_EQ(s.beyond_e5m2[at], static_cast<float>(expected.beyond_e5m2));
        EXPECT_EQ(s.beyond_f16[at], static_cast<float>(expected.beyond_f16));
        EXPECT_EQ(s.nonfinite[at], 0);
        EXPECT_EQ(s.row(s.top_values, layer, i)[0], static_cast<float>(expected.top[0].value));
        EXPECT_EQ(s.row(s.top_token, layer, i)[5], expected.top[5].token);
        EXPECT_EQ(s.row(s.top_channel, layer, i)[5], expected.top[5].channel);
        for (std::size_t c = 0; c < 11; ++c) {
          EXPECT_EQ(s.row(s.channel_max, layer, i)[c], static_cast<float>(expected.channel_max[c]));
        }
        for (std::int64_t t = 0; t < 11; ++t) {
          const auto token = static_cast<std::size_t>(t);
          if (t < tokens) {
            EXPECT_EQ(s.row(s.token_max, layer, i)[token], static_cast<float>(expected.token_max[token]));
            EXPECT_EQ(s.row(s.token_median, layer, i)[token], static_cast<float>(expected.token_median[token]));
            EXPECT_EQ(s.row(s.token_rms, layer, i)[token], static_cast<float>(expected.token_rms[token]));
          } else {
            EXPECT_TRUE(std::isnan(s.row(s.token_max, layer, i)[token]));
          }
        }
        const auto histogram = s.row(s.histogram, layer, i);
        EXPECT_TRUE(std::equal(histogram.begin(), histogram.end(), expected.histogram.begin()));
      }
    }
  }
}

TEST_F(SnapshotTest, RawStatesAreTheTensorsShown) {
  const SnapshotReader reader = SnapshotReader::open(take(KvBiasKind::none));
  for (const std::int64_t sequence : reader.raw_sequences()) {
    const auto index = static_cast<std::size_t>(sequence);
    std::vector<float> expected;
    for (std::int64_t layer = 0; layer < 3; ++layer) {
      const auto h = hidden_of(Site::block_output, layer, index);
      expected.insert(expected.end(), h.begin(), h.end());
    }
    EXPECT_EQ(reader.raw_block_output(sequence), expected);
    EXPECT_EQ(H5File::open(reader.path()).read<float>(fmt::format("raw/{}/embedding_output", sequence)).values,
              hidden_of(Site::embedding_output, 0, index));
    EXPECT_TRUE(reader.raw_attention_bias(sequence).empty());
  }
  // Of a calibration window only statistics are kept.
  EXPECT_EQ(error_of([&] { reader.raw_block_output(2); }).code(), ExitCode::bad_checkpoint);
}

TEST_F(SnapshotTest, AttentionMassesAgreeWithTheMapsAndSumToOne) {
  for (const KvBiasKind kv_bias : {KvBiasKind::none, KvBiasKind::k}) {
    const SnapshotReader reader = SnapshotReader::open(take(kv_bias));
    const SnapshotFile& file = reader.contents();
    const AttentionStatistics& a = file.attention;
    for (std::int64_t layer = 0; layer < 3; ++layer) {
      for (std::int64_t sequence = 0; sequence < 5; ++sequence) {
        for (std::int64_t head = 0; head < 3; ++head) {
          const std::size_t at = a.at(layer, sequence, head);
          EXPECT_NEAR(a.mass_first[at] + a.mass_bias[at] + a.mass_rest[at], 1.0f, 1e-5f);
          if (kv_bias == KvBiasKind::none) {
            EXPECT_EQ(a.bias_mass[at], 0.0f);
          } else {
            EXPECT_GT(a.bias_mass[at], 0.0f);
          }
          const auto length = static_cast<std::size_t>(file.probe.lengths[static_cast<std::size_t>(sequence)]);
          for (std::size_t k = 0; k < 11; ++k) EXPECT_EQ(std::isnan(a.key_mass[at * 11 + k]), k >= length);
        }
      }
    }
    // Sequence 0, head 2 of layer 1, from its map.
    const auto map = reader.raw_attention(0);
    const auto bias = reader.raw_attention_bias(0);
    const std::size_t block = 1 * 3 + 2;
    double first = 0.0;
    double bias_all = 0.0;
    for (std::size_t query = 0; query < 5; ++query) {
      double row = 0.0;
      for (std::size_t k = 0; k < 5; ++k) row += map[(block * 5 + query) * 5 + k];
      if (kv_bias != KvBiasKind::none) {
        row += bias[block * 5 + query];
        bias_all += bias[block * 5 + query] / 5;
      }
      EXPECT_NEAR(row, 1.0, 1e-5);
      if (query >= 1) first += map[(block * 5 + query) * 5] / 4;
    }
    EXPECT_NEAR(a.mass_first[a.at(1, 0, 2)], first, 1e-6);
    EXPECT_NEAR(a.bias_mass[a.at(1, 0, 2)], bias_all, 1e-6);
  }
}

TEST_F(SnapshotTest, EachFormatsShareIsItsOwn) {
  // What the MLP adds holds one 60,000 a sequence: beyond E5M2's largest number, within F16's.
  const SnapshotReader reader = SnapshotReader::open(take(KvBiasKind::none));
  const SiteStatistics& s = reader.contents().sites.at(Site::mlp_output);
  EXPECT_FLOAT_EQ(s.beyond_e5m2[s.at(1, 0)], 1.0f / (5 * 11));
  EXPECT_EQ(s.beyond_f16[s.at(1, 0)], 0.0f);
}

TEST_F(SnapshotTest, SinkMassesAreOfTheFirstQueriesOfALongSequence) {
  probe_ = test::fake_probe(true);
  const SnapshotReader reader = SnapshotReader::open(take(KvBiasKind::kv));
  const SnapshotFile& file = reader.contents();
  EXPECT_EQ(H5File::open(reader.path()).int_attribute("attention/sink_mass", "queries"), 64);
  ASSERT_EQ(file.dims.sink_keys(), 64);
  // Sequence 0 has 5 tokens: the same as over the whole of it, NaN after its end. Sequence 5 has 71.
  const AttentionStatistics& a = file.attention;
  const std::size_t brief = a.at(1, 0, 2);
  const std::size_t extended = a.at(1, 5, 2);
  for (std::size_t k = 0; k < 5; ++k) EXPECT_EQ(a.sink_mass[brief * 64 + k], a.key_mass[brief * 71 + k]);
  EXPECT_TRUE(std::isnan(a.sink_mass[brief * 64 + 5]));
  EXPECT_EQ(a.sink_bias[brief], a.bias_mass[brief]);
  for (std::size_t k = 0; k < 64; ++k) EXPECT_NE(a.sink_mass[extended * 64 + k], a.key_mass[extended * 71 + k]);
  EXPECT_NE(a.sink_bias[extended], a.bias_mass[extended]);
}

TEST_F(SnapshotTest, WeightsAreOfTheLogicalTensors) {
  const SnapshotReader reader = SnapshotReader::open(take(KvBiasKind::none, DType::f64));
  const WeightStatistics& w = reader.contents().weights;
  EXPECT_THAT(w.names, ElementsAre("embedding.weight", "layers.0.q.weight", "layers.0.q.bias", "layers.0.o.weight",
                                   "final_norm.weight"));
  EXPECT_THAT(w.layer, ElementsAre(-1, 0, 0, 0, -1));
  const Mesh mesh = Mesh::single();
  const FakeModel model(mesh, FakeModel::config(KvBiasKind::none, 3), DType::f64);
  for (std::size_t i = 0; i < w.names.size(); ++i) {
    const auto values = model.parameters()[i].value.span<double>();
    double mean = 0.0, squares = 0.0, largest = 0.0;
    for (const double value : values) mean += value / static_cast<double>(values.size());
    for (const double value : values) {
      squares += (value - mean) * (value - mean);
      largest = std::max(largest, std::abs(value));
    }
    EXPECT_NEAR(w.mean[i], mean, 1e-6);
    EXPECT_NEAR(w.std[i], std::sqrt(squares / static_cast<double>(values.size() - 1)), 1e-6);
    EXPECT_NEAR(w.max_abs[i], largest, 1e-6);
  }
}

TEST_F(SnapshotTest, AForwardThatShowsTooLittleIsABug) {
  const Mesh mesh = Mesh::single();
  const ModelConfig config = FakeModel::config(KvBiasKind::none, 3);
  const FakeModel model(mesh, config, DType::f32);
  const SnapshotConfig snapshot;
  SnapshotSession session(mesh, config, probe_, snapshot);
  session.run([](const Batch&, ActivationTap&) {});
  EXPECT_EQ(error_of([&] { session.write(directory_ / "x.h5", {}, model.parameters()); }).code(), ExitCode::internal);
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

TEST_F(SnapshotTest, FilesThatAreNoSnapshotsAreRefused) {
  {
    H5File other = H5File::create(directory_ / "other.h5");
    other.set_attribute("/", "format", std::string("something-else"));
    other.commit(Sealing::sealed);
    H5File newer = H5File::create(directory_ / "newer.h5");
    newer.set_attribute("/", "format", std::string("headroom-snapshot"));
    newer.set_attribute("/", "version", std::int64_t{4});
    newer.commit(Sealing::sealed);
    H5File::create(directory_ / "unsealed.h5").commit();
  }
  EXPECT_THAT(error_of([&] { SnapshotReader::open(directory_ / "other.h5"); }).what(),
              HasSubstr("other.h5: an HDF5 file, but not a Headroom snapshot"));
  EXPECT_THAT(error_of([&] { SnapshotReader::open(directory_ / "newer.h5"); }).what(),
              HasSubstr("format version 4, this program reads 3"));
  EXPECT_THAT(error_of([&] { SnapshotReader::open(directory_ / "unsealed.h5"); }).what(),
              HasSubstr("unsealed.h5: has no seal"));
  const std::filesystem::path path = take(KvBiasKind::none);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_EQ(error_of([&] { SnapshotReader::open(path); }).code(), ExitCode::bad_checkpoint);
}

// Wherever it is: in statistics, in texts, in raw arrays nobody asked for, in HDF5's own bookkeeping.
TEST_F(SnapshotTest, AFlippedBitIsNeverRead) {
  const std::filesystem::path path = take(KvBiasKind::none);
  const std::string good = test::content_of(path);
  for (std::size_t i = 0; i < 100; ++i) {
    std::string bad = good;
    bad[good.size() * i / 100 + 7] ^= 0x10;
    std::ofstream(path, std::ios::binary) << bad;
    const Error error = error_of([&] { SnapshotReader::open(path); });
    EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr("damaged")));
  }
}

// Numbers that lead into other arrays, as a damaged or foreign file may have them.
TEST_F(SnapshotTest, PlacesAndExtentsOutOfRangeAreRefused) {
  const std::filesystem::path good = take(KvBiasKind::none);
  const auto refusal_of = [&](const std::function<void(SnapshotFile&)>& damage) {
    SnapshotFile file = SnapshotReader::open(good).contents();
    damage(file);
    const std::filesystem::path path = directory_ / "damaged.h5";
    write_snapshot(path, file, {}, false);
    return std::string(error_of([&] { SnapshotReader::open(path); }).what());
  };
  EXPECT_THAT(refusal_of([](SnapshotFile& f) { f.sites[Site::mlp_output].top_token[3] = 11; }),
              AllOf(HasSubstr("damaged.h5"), HasSubstr("sites/mlp_output/top_token"), HasSubstr("token 11")));
  EXPECT_THAT(refusal_of([](SnapshotFile& f) { f.sites[Site::block_output].top_channel[0] = 11; }),
              HasSubstr("channel 11 for a sequence of 5 tokens and 11 channels"));
  EXPECT_THAT(refusal_of([](SnapshotFile& f) { f.sites[Site::block_output].top_channel[0] = -1; }),
              HasSubstr("channel -1"));
  EXPECT_THAT(refusal_of([](SnapshotFile& f) { f.probe.lengths[0] = 12; }), HasSubstr("`probe/lengths` has 12"));
  EXPECT_THAT(refusal_of([](SnapshotFile& f) {
                f.dims.heads = 0;
                f.attention = {};
              }),
              HasSubstr("0 heads"));
}

TEST_F(SnapshotTest, AFullDiskIsReportedAndNothingIsLeft) {
  const auto size = std::filesystem::file_size(take(KvBiasKind::none));
  std::filesystem::remove_all(directory_);
  // In the middle, in HDF5's last bytes and in the seal.
  for (const std::uintmax_t fits : {size / 2, size - kSealBytes - 1, size - 1}) {
    std::filesystem::create_directory(directory_);
    const test::FileSizeLimit limit(fits);
    const Error error = error_of([&] { take(KvBiasKind::none); });
    EXPECT_EQ(error.code(), ExitCode::disk_full);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("step-00000100.h5"), HasSubstr("File too large")));
    EXPECT_TRUE(std::filesystem::is_empty(directory_)) << fits << " of " << size << " bytes";
  }
}

TEST_F(SnapshotTest, AVanishedDirectoryIsReportedAndNothingIsLeft) {
  const Mesh mesh = Mesh::single();
  const Error error = error_of([&] {
    test::fake_snapshot(mesh, FakeModel::config(KvBiasKind::none, 3), DType::f32, probe_, directory_ / "gone" / "s.h5");
  });
  EXPECT_EQ(error.code(), ExitCode::disk_full);
  EXPECT_THAT(error.what(), HasSubstr("No such file or directory"));
  EXPECT_FALSE(error.hint().empty());
}

}  // namespace
}  // namespace headroom
