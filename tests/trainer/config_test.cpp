// The configuration language: every key from a file and from --set, exact round trips, and messages that point at the
// place and say what to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>

#include "analysis/report/groups.h"
#include "base/error.h"
#include "trainer/config_schema.h"
#include "trainer/config_table.h"

namespace headroom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

RunConfig parse(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  return parse_config(toml, "run.toml", overrides);
}

// The error that reading gives, as "message | hint".
std::string failure(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  try {
    parse(toml, overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return std::string(error.what()) + " | " + error.hint();
  }
  ADD_FAILURE() << "no error for:\n" << toml;
  return "";
}

// An allowed value that is not the default.
ConfigValue other_value(const ConfigKey& key) {
  const ConfigValue standard = key.get(RunConfig{});
  switch (key.kind) {
    case ConfigKind::boolean:
      return !std::get<bool>(standard);
    case ConfigKind::integer:
      // Few enough for calibration_tokens <= seq_len, and multiples of 8 for the batch.
      return std::get<std::int64_t>(standard) == 0 ? std::int64_t{8} : std::get<std::int64_t>(standard) + 64;
    case ConfigKind::real:
      // Halves keep min_lr below lr.
      return std::get<double>(standard) == 0.0 ? 0.3 : std::get<double>(standard) / 2.0;
    case ConfigKind::choice:
      return key.choices.front() == std::get<std::string>(standard) ? key.choices.back() : key.choices.front();
    case ConfigKind::text_list:
      return std::vector<std::string>{"One.", "Two, with \"quotes\"."};
    case ConfigKind::text:
    case ConfigKind::path:
      return std::string("other-text");
  }
  return standard;
}

TEST(EachKey, IsSetByAFileAndByAnOverride) {
  for (const ConfigKey& key : config_keys()) {
    SCOPED_TRACE(key.name);
    const ConfigValue value = other_value(key);
    ASSERT_NE(value, key.get(RunConfig{}));
    const std::string literal = to_toml_literal(value);

    const std::string header = key.table().empty() ? "" : "[" + key.table() + "]\n";
    const RunConfig from_file = parse(header + key.leaf() + " = " + literal + "\n");
    EXPECT_EQ(key.get(from_file), value);
    const RunConfig from_override = parse("", {key.name + "=" + literal});
    EXPECT_EQ(key.get(from_override), value);

    for (const ConfigKey& other : config_keys()) {
      if (other.name != key.name) {
        EXPECT_EQ(other.get(from_file), other.get(RunConfig{})) << other.name << " changed too";
      }
    }
  }
}

TEST(EachKey, SurvivesTheRoundTrip) {
  for (const ConfigKey& key : config_keys()) {
    SCOPED_TRACE(key.name);
    RunConfig config;
    key.set(config, other_value(key));
    const RunConfig again = parse(to_toml(config));
    for (const ConfigKey& other : config_keys()) EXPECT_EQ(other.get(again), other.get(config)) << other.name;
  }
}

TEST(EachKey, ChangesTheFingerprintExactlyWhenItComputes) {
  for (const ConfigKey& key : config_keys()) {
    SCOPED_TRACE(key.name);
    RunConfig config;
    key.set(config, other_value(key));
    EXPECT_EQ(fingerprint(config) != fingerprint(RunConfig{}), key.computes);
    EXPECT_EQ(!computing_differences(RunConfig{}, config).empty(), key.computes);
  }
}

TEST(EachKey, RefusesATable) {
  for (const ConfigKey& key : config_keys()) {
    SCOPED_TRACE(key.name);
    const std::string name = key.name;
    EXPECT_THAT(failure("[" + name + "]\n"), AllOf(HasSubstr(name + ": found a table, wanted")));
  }
}

TEST(EachKey, IsDocumented) {
  for (const ConfigKey& key : config_keys()) {
    SCOPED_TRACE(key.name);
    EXPECT_FALSE(key.help.empty());
    EXPECT_THAT(describe_keys(), HasSubstr("  " + key.name + " = "));
  }
}

TEST(Config, CoversTheWholeOfItsStruct) {
  // A member without a key would leave the round trip unnoticed: one of each nested struct is checked by hand.
  const RunConfig config = parse(R"(
name = "small"
seed = 7
[model]
norm = "dyt"
attention.kv_bias = "k"
dyt.alpha_other = 0.25
[init]
std = 0.01
scheme = "gpt2"
[optim]
schedule.kind = "wsd"
tvr = { enabled = true, target = 0.02 }
[train]
dtype = "f64"
recompute = "block"
[parallel]
tensor = 2
)");
  EXPECT_EQ(config.name, "small");
  EXPECT_EQ(config.seed, 7u);
  EXPECT_EQ(config.model.norm, NormKind::dyt);
  EXPECT_EQ(config.model.attention.kv_bias, KvBiasKind::k);
  EXPECT_EQ(config.model.dyt.alpha_other, 0.25);
  EXPECT_EQ(config.model.init.std, 0.01);
  EXPECT_EQ(config.model.init.scheme, InitScheme::gpt2);
  EXPECT_TRUE(parse("init.lir = true").model.init.lir);
  EXPECT_EQ(config.optim.schedule.kind, ScheduleKind::wsd);
  EXPECT_TRUE(config.optim.tvr.enabled);
  EXPECT_EQ(config.optim.tvr.target, 0.02);
  EXPECT_EQ(config.train.dtype, DType::f64);
  EXPECT_EQ(config.train.recompute, Recompute::block);
  EXPECT_EQ(config.parallel.tensor, 2);
}

TEST(Config, ChoicesFollowTheEnumerators) {
  EXPECT_EQ(parse("model.activation = 'gelu_tanh'").model.activation, Activation::gelu_tanh);
  EXPECT_EQ(parse("model.activation = 'relu'").model.activation, Activation::relu);
  EXPECT_EQ(parse("model.norm = 'layer'").model.norm, NormKind::layer);
  EXPECT_EQ(parse("model.positions = 'learned'").model.positions, PositionKind::learned);
  EXPECT_EQ(parse("model.attention.kv_bias = 'kv'").model.attention.kv_bias, KvBiasKind::kv);
  EXPECT_EQ(parse("optim.schedule.kind = 'linear'").optim.schedule.kind, ScheduleKind::linear);
  EXPECT_EQ(parse("optim.schedule.kind = 'constant'").optim.schedule.kind, ScheduleKind::constant);
}

TEST(Config, RoundTripKeepsEveryBitOfANumber) {
  RunConfig config;
  for (const double value : {0.1 + 0.2, 1.0 / 3.0, 5e-324, 1.7976931348623157e308, 6e-4, 1e22}) {
    config.optim.eps = value;
    EXPECT_EQ(parse(to_toml(config)).optim.eps, value);
  }
}

TEST(Config, RoundTripKeepsEveryCharacterOfAString) {
  RunConfig config;
  config.variant = "a \"b\" \\ c\td\ne\x01 \xe2\x96\x81";
  config.snapshot.sentences = {"", "x # y", "'"};
  const RunConfig again = parse(to_toml(config));
  EXPECT_EQ(again.variant, config.variant);
  EXPECT_EQ(again.snapshot.sentences, config.snapshot.sentences);
}

TEST(Config, OverridesComeInOrderAndTakeBareWords) {
  const RunConfig config =
      parse("optim.lr = 1e-3", {"optim.lr=2e-3", "optim.lr = 3e-3", "name=tvr-7", "variant=12", "model.norm=layer",
                                "data.corpus=/some where/corpus", "snapshot.sentences=['a', 'b']"});
  EXPECT_EQ(config.optim.lr, 3e-3);
  EXPECT_EQ(config.name, "tvr-7");
  EXPECT_EQ(config.variant, "12");
  EXPECT_EQ(config.model.norm, NormKind::layer);
  EXPECT_EQ(config.data.corpus, "/some where/corpus");
  EXPECT_EQ(config.snapshot.sentences, (std::vector<std::string>{"a", "b"}));
}

TEST(Config, AnOverrideIsOneValue) {
  EXPECT_THAT(failure("", {"optim.lr=1\nseed=3"}), HasSubstr("optim.lr: found the string"));
  EXPECT_THAT(failure("", {"optim.lr"}), HasSubstr("--set: 'optim.lr' is not of the form key=value"));
  EXPECT_THAT(failure("", {"=3"}), HasSubstr("is not of the form key=value"));
  EXPECT_THAT(failure("", {"variant=\xff"}), HasSubstr("--set: variant: "));
}

TEST(ConfigErrors, UnknownKeyNamesThePlaceAndTheNearestKey) {
  EXPECT_THAT(failure("seed = 1\n\n[optim.tvr]\n  intervall = 5\n"),
              AllOf(StartsWith("run.toml:4:3: unknown key 'optim.tvr.intervall'"),
                    HasSubstr("Did you mean 'optim.tvr.interval'?")));
  EXPECT_THAT(failure("[optim]\nkv_bias = 'kv'\n"), HasSubstr("Did you mean 'model.attention.kv_bias'?"));
  EXPECT_THAT(failure("lr = 1\n"), HasSubstr("Did you mean 'optim.lr'?"));
  EXPECT_THAT(failure("", {"optm.lr=1"}),
              AllOf(StartsWith("--set: unknown key 'optm.lr'"), HasSubstr("Did you mean 'optim.lr'?")));
  EXPECT_THAT(failure("frobnicate = 1\n"), AllOf(HasSubstr("unknown key 'frobnicate'"), Not(HasSubstr("Did you"))));
}

TEST(ConfigErrors, UnknownTableNamesTheNearestTable) {
  EXPECT_THAT(failure("[optm]\nlr = 1\n"),
              AllOf(StartsWith("run.toml:1:2: unknown table 'optm'"), HasSubstr("Did you mean 'optim'?")));
  EXPECT_THAT(failure("[optim.tvrr]\n"), HasSubstr("Did you mean 'optim.tvr'?"));
}

TEST(ConfigErrors, WrongTypeSaysWhatIsFoundAndWanted) {
  EXPECT_THAT(failure("[model]\nhidden_size = \"big\"\n"),
              StartsWith("run.toml:2:15: model.hidden_size: found the string \"big\", wanted an integer from 1 to"));
  EXPECT_THAT(failure("[model]\nhidden_size = \"64\"\n"), HasSubstr("Write 64 without quotes."));
  EXPECT_THAT(
      failure("optim.schedule.warmup_tokens = 1e9\n"),
      AllOf(HasSubstr("found the number 1e+09, wanted an integer, at least 0"), HasSubstr("Write 1000000000:")));
  EXPECT_THAT(failure("model.bias = 1\n"), HasSubstr("model.bias: found the integer 1, wanted true or false"));
  EXPECT_THAT(failure("name = 3\n"), HasSubstr("name: found the integer 3, wanted a string"));
  EXPECT_THAT(failure("optim.lr = true\n"), HasSubstr("optim.lr: found true, wanted a number, greater than 0"));
  EXPECT_THAT(failure("snapshot.sentences = ['a', 3]\n"), HasSubstr("found a list, wanted a list of strings"));
  EXPECT_THAT(failure("train.steps = 1979-05-27\n"), HasSubstr("found a date or time, wanted an integer"));
  EXPECT_THAT(failure("optim = 3\n"), HasSubstr("optim: found the integer 3, but it is a table of keys"));
  EXPECT_THAT(failure("[[optim]]\nlr = 1\n"), HasSubstr("optim: found a list, but it is a table of keys"));
}

TEST(ConfigErrors, RangeSaysTheRange) {
  EXPECT_THAT(failure("optim.beta1 = 1.0\n"),
              HasSubstr("optim.beta1: 1.0 is not allowed, wanted a number, at least 0 and less than 1"));
  EXPECT_THAT(failure("optim.lr = nan\n"), HasSubstr("optim.lr: nan is not allowed"));
  EXPECT_THAT(failure("optim.lr = inf\n"), HasSubstr("optim.lr: inf is not allowed"));
  EXPECT_THAT(failure("train.steps = 0\n"), HasSubstr("train.steps: 0 is not allowed, wanted an integer from 1 to"));
  EXPECT_THAT(failure("seed = -1\n"), HasSubstr("seed: -1 is not allowed, wanted an integer, at least 0"));
  EXPECT_THAT(failure("model.norm = 'layr'\n"),
              AllOf(HasSubstr("model.norm: \"layr\" is not allowed, wanted one of rms, layer, dyt"),
                    HasSubstr("Did you mean \"layer\"?")));
}

TEST(ConfigErrors, BrokenTomlNamesThePlace) {
  EXPECT_THAT(failure("seed = 1\nname = = 3\n"), AllOf(StartsWith("run.toml:2:"), HasSubstr("not valid TOML")));
  EXPECT_THAT(failure("seed = 1\nseed = 2\n"), StartsWith("run.toml:2:"));
}

TEST(ConfigErrors, OtherTrainersNamesAreUnderstood) {
  EXPECT_THAT(failure("", {"optim.learning_rate=1e-3"}),
              AllOf(HasSubstr("unknown key 'optim.learning_rate'"), HasSubstr("Did you mean 'optim.lr'?")));
  EXPECT_THAT(failure("train.batch_size = 8"), HasSubstr("Did you mean 'train.global_batch'?"));
}

TEST(ConfigErrors, TheFirstMistakeOfAFileIsReported) {
  EXPECT_THAT(failure("zzz = 1\naaa = 2\n"), StartsWith("run.toml:1:1: unknown key 'zzz'"));
}

TEST(ConfigErrors, KeysThatContradictEachOther) {
  EXPECT_THAT(failure("optim.min_lr = 1e-2\n"),
              HasSubstr("optim.min_lr = 0.01 (run.toml:1:16) is larger than optim.lr = 6e-04 (default)"));
  EXPECT_THAT(failure("train.global_batch = 7", {"train.micro_batch=2", "parallel.data=2"}),
              AllOf(HasSubstr("train.global_batch = 7 (run.toml:1:22) does not divide by train.micro_batch = 2 (--set) "
                              "times parallel.data = 2 (--set)"),
                    HasSubstr("multiple of 4")));
  EXPECT_THAT(failure("train.global_batch = 9\nparallel.data = 2"), HasSubstr("does not divide by parallel.data = 2"));
  EXPECT_THAT(failure("model.seq_len = 64\nsnapshot.calibration_tokens = 65"),
              HasSubstr("snapshot.calibration_tokens = 65 (run.toml:2:31) is larger than model.seq_len = 64"));
  EXPECT_NO_THROW(parse("model.seq_len = 64"));  // the default of 128 gives way
  for (const std::string name : {"", "a/b", "..", "-x", "a b"}) {
    EXPECT_THAT(failure("name = '" + name + "'"), HasSubstr("cannot name a directory"));
  }
}

// Files in a directory of their own.
class ConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("headroom-config-" + std::to_string(::getpid()) + "-" +
                                                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_ / "sub");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  std::string failure(const std::filesystem::path& file) {
    try {
      load_config(file, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(ConfigFiles, IncludedKeysComeFirstWhereverTheLineStands) {
  write("base.toml", "seed = 1\n[optim]\nlr = 1e-2\nbeta1 = 0.8\n");
  write("sub/middle.toml", "include = '../base.toml'\nseed = 2\n");
  const auto top = write("top.toml", "optim.lr = 2e-2\ninclude = 'sub/middle.toml'\n");
  const RunConfig config = load_config(top, {"optim.beta2=0.5"});
  EXPECT_EQ(config.seed, 2u);
  EXPECT_EQ(config.optim.lr, 2e-2);
  EXPECT_EQ(config.optim.beta1, 0.8);
  EXPECT_EQ(config.optim.beta2, 0.5);
}

TEST_F(ConfigFiles, TheSameFileMayBeIncludedByTwo) {
  write("base.toml", "seed = 5\n");
  write("a.toml", "include = 'base.toml'\n");
  EXPECT_EQ(load_config(write("b.toml", "include = 'a.toml'\n"), {}).seed, 5u);
}

TEST_F(ConfigFiles, ErrorsNameTheIncludedFile) {
  const auto base = write("base.toml", "\nsede = 1\n");
  EXPECT_THAT(failure(write("top.toml", "include = 'base.toml'\n")), StartsWith(base.string() + ":2:1: unknown key"));
}

TEST_F(ConfigFiles, MissingAndCircularIncludesNameTheLine) {
  const auto top = write("top.toml", "seed = 1\ninclude = 'nowhere.toml'\n");
  EXPECT_THAT(failure(top), AllOf(StartsWith(top.string() + ":2:11: cannot read config file"),
                                  HasSubstr("nowhere.toml"), HasSubstr("No such file")));
  const auto self = write("self.toml", "include = 'self.toml'\n");
  EXPECT_THAT(failure(self), AllOf(StartsWith(self.string() + ":1:11: "), HasSubstr("includes itself")));
  EXPECT_THAT(failure(write("odd.toml", "include = 3\n")),
              HasSubstr("include: found the integer 3, wanted a file name"));
}

TEST_F(ConfigFiles, AMissingFileOrADirectoryIsAnError) {
  EXPECT_THAT(failure(folder_ / "none.toml"), HasSubstr("cannot read config file"));
  EXPECT_THAT(failure(folder_), HasSubstr("is a directory"));
}

// The configs of runs that the project ships; campaigns and sites are tests/campaign's.
std::vector<std::filesystem::path> shipped_configs() {
  std::vector<std::filesystem::path> files;
  const std::filesystem::path root = std::filesystem::path(HEADROOM_SOURCE_DIR) / "configs";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const std::string folder = entry.path().parent_path().filename().string();
    if (folder == "campaigns" || folder == "sites") continue;
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(ShippedConfigs, LoadAndRoundTripAndHaveNamesOfTheirOwn) {
  std::set<std::string> names;
  ASSERT_GE(shipped_configs().size(), 20u);
  for (const auto& file : shipped_configs()) {
    SCOPED_TRACE(file.string());
    const RunConfig config = load_config(file, {});
    EXPECT_THAT(computing_differences(config, parse(to_toml(config))), IsEmpty());
    if (file.stem() == "base") continue;  // only ever included
    EXPECT_NE(config.name, RunConfig{}.name);
    EXPECT_TRUE(names.insert(config.name).second) << config.name << " names two configs";
  }
}

TEST(PublishedConfigs, Llama1bTrainsOn100BillionTokens) {
  const RunConfig config = load_config(std::string(HEADROOM_SOURCE_DIR) + "/configs/llama-1b/baseline.toml", {});
  const std::int64_t tokens_per_step = config.train.global_batch * config.model.seq_len;
  EXPECT_EQ(tokens_per_step, 8'257'536);
  EXPECT_NEAR(static_cast<double>(config.train.steps * tokens_per_step), 100e9, 8.3e6);
  EXPECT_EQ(config.model.init.std, 0.006);
  EXPECT_TRUE(config.model.init.lir);
  EXPECT_FALSE(config.optim.tvr.enabled);
}

TEST(PublishedConfigs, Llama1bTvrDytDiffersFromTheBaselineInItsSwitchesOnly) {
  const std::string folder = std::string(HEADROOM_SOURCE_DIR) + "/configs/llama-1b/";
  EXPECT_THAT(
      computing_differences(load_config(folder + "baseline.toml", {}), load_config(folder + "tvr-dyt.toml", {})),
      ::testing::ElementsAre("model.norm: \"rms\" -> \"dyt\"", "model.embedding_scale: false -> true",
                             "model.dyt.alpha_attention: 0.0 -> 1.0", "model.dyt.alpha_other: 0.0 -> 0.5",
                             "init.std: 0.006 -> 0.02", "optim.tvr.enabled: false -> true",
                             "optim.tvr.target: 0.01 -> 0.02"));
}

TEST(PublishedConfigs, Gpt2TrainsOn50BillionTokens) {
  const RunConfig config = load_config(std::string(HEADROOM_SOURCE_DIR) + "/configs/gpt2-124m/baseline.toml", {});
  const std::int64_t tokens_per_step = config.train.global_batch * config.model.seq_len;
  EXPECT_NEAR(static_cast<double>(config.train.steps * tokens_per_step), 50e9, 2.1e6);
  EXPECT_EQ(config.model.init.scheme, InitScheme::gpt2);
}

// The report cannot ask the trainer which keys compute, so it has a list of its own.
TEST(ConfigTable, TheReportGroupsRunsByTheKeysThatCompute) {
  for (const ConfigKey& key : config_keys()) EXPECT_EQ(report::computes(key.name), key.computes) << key.name;
}

}  // namespace
}  // namespace headroom
