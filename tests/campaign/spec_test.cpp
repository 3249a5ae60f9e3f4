// Campaign files: what they may say, what is refused and where, and which runs they become.
#include "campaign/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "campaign/cost.h"
#include "campaign/duration.h"
#include "campaign/runs.h"
#include "campaign/site.h"
#include "tests/data/support.h"
#include "tests/scratch.h"
#include "tests/source_dir.h"
#include "trainer/config_schema.h"

namespace headroom::campaign {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class CampaignFile : public testing::Test {
 protected:
  CampaignFile() { scratch_.file("base.toml", "optim.lr = 1e-3\nvariant = \"base\"\n"); }

  Spec spec(const std::string& text) const { return load_spec(scratch_.file("c.toml", text)); }
  std::vector<PlannedRun> runs(const std::string& text) const { return expand(spec(text), "/runs"); }

  // What is said of a file that is refused: message and hint.
  std::string refusal(const std::string& text) const {
    try {
      runs(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      return std::string(error.what()) + "\n" + error.hint();
    }
    return "not refused";
  }

  test::Scratch scratch_;
};

const std::string kHead = "name = \"c\"\nbase = \"base.toml\"\n";

TEST_F(CampaignFile, BecomesItsRunsWithSeedsFastest) {
  const auto all = runs(kHead +
                        "seeds = [3, 1]\n[variants]\nb = {}\na = { optim.tvr.enabled = true }\n"
                        "[axes]\n\"optim.lr\" = [0.001, 0.002]\n");
  std::vector<std::string> names;
  for (const PlannedRun& run : all) names.push_back(run.name);
  EXPECT_THAT(names, ElementsAre("b-lr0.001-seed3", "b-lr0.001-seed1", "b-lr0.002-seed3", "b-lr0.002-seed1",
                                 "a-lr0.001-seed3", "a-lr0.001-seed1", "a-lr0.002-seed3", "a-lr0.002-seed1"));
  EXPECT_EQ(all[2].group, "b-lr0.002");
  EXPECT_EQ(all[2].config.optim.lr, 0.002);
  EXPECT_EQ(all[2].config.seed, 3U);
  EXPECT_EQ(all[2].config.runs_dir, "/runs");
  EXPECT_EQ(all[2].config.name, "b-lr0.002-seed3");
}

TEST_F(CampaignFile, AxesGoBeforeSetGoesBeforeVariantGoesBeforeBase) {
  const auto all = runs(kHead +
                        "[variants]\nv = { optim.lr = 2e-3, optim.clip = 2.0, optim.beta1 = 0.8 }\n"
                        "[set]\noptim.lr = 3e-3\noptim.clip = 3.0\n[axes]\noptim.lr = [4e-3]\n");
  EXPECT_EQ(all[0].config.optim.lr, 4e-3);
  EXPECT_EQ(all[0].config.optim.clip, 3.0);
  EXPECT_EQ(all[0].config.optim.beta1, 0.8);
}

TEST_F(CampaignFile, VariantsAreCalledAsTheirConfigsSayElseByTheirKeys) {
  scratch_.file("tvr.toml", "variant = \"TVR\"\noptim.tvr.enabled = true\n");
  const auto all =
      runs(kHead + "[variants]\none = {}\ntwo = \"tvr.toml\"\nthree = { variant = \"3\", optim.lr = 1 }\n");
  EXPECT_EQ(all[0].config.variant, "one");
  EXPECT_EQ(all[1].config.variant, "TVR");
  EXPECT_EQ(all[2].config.variant, "3");
}

TEST_F(CampaignFile, IsRefusedWithThePlaceAndASuggestion) {
  const std::string variants = "[variants]\nv = {}\n";
  EXPECT_THAT(refusal(kHead + "sedes = [1]\n" + variants), AllOf(HasSubstr("c.toml:3:1"), HasSubstr("'seeds'")));
  EXPECT_THAT(refusal(kHead + variants + "[resources]\nnode = 2\n"), HasSubstr("'resources.nodes'"));
  EXPECT_THAT(refusal(kHead + variants + "[axes]\n\"optim.lrr\" = [1]\n"),
              AllOf(HasSubstr("c.toml:6"), HasSubstr("'optim.lrr'"), HasSubstr("'optim.lr'")));
  EXPECT_THAT(refusal(kHead + variants + "[axes]\nlearning_rate = [1]\n"), HasSubstr("'optim.lr'"));
  EXPECT_THAT(refusal(kHead + variants + "[set]\ntrain.stepz = 3\n"), HasSubstr("'train.steps'"));
  EXPECT_THAT(refusal(kHead + "[variants]\nv = { optim.lr = \"x\" }\n"),
              AllOf(HasSubstr("v-seed1"), HasSubstr("optim.lr")));
  EXPECT_THAT(refusal("name = \"c\"\n" + variants), HasSubstr("no base"));
  EXPECT_THAT(refusal("base = \"base.toml\"\n" + variants), HasSubstr("the key name is missing"));
  EXPECT_THAT(refusal(kHead), HasSubstr("variants is missing"));
  EXPECT_THAT(refusal(kHead + "[variants]\n"), HasSubstr("no variant"));
  EXPECT_THAT(refusal(kHead + "[variants]\n\"a b\" = {}\n"), HasSubstr("'a b'"));
  EXPECT_THAT(refusal(kHead + "seeds = [1, 1]\n" + variants), HasSubstr("none twice"));
  EXPECT_THAT(refusal(kHead + variants + "[axes]\noptim.lr = 1\n"), HasSubstr("a list of values"));
  EXPECT_THAT(refusal(kHead + variants + "[axes]\noptim.lr = [1.0, 1.0]\n"), HasSubstr("twice"));
  EXPECT_THAT(refusal(kHead + variants + "[set]\nseed = 3\n"), HasSubstr("seeds = ["));
  EXPECT_THAT(refusal(kHead + variants + "[set]\nname = \"x\"\n"), HasSubstr("itself sets name"));
  EXPECT_THAT(refusal(kHead + variants + "[set]\nvariant = \"x\"\n"), HasSubstr("several variants'"));
  EXPECT_THAT(refusal(kHead + variants + "[axes]\nvariant = [\"x\"]\n"), HasSubstr("several variants'"));
  EXPECT_THAT(refusal(kHead + variants + "[resources]\ntime = 30\n"), HasSubstr("HH:MM:SS"));
  EXPECT_THAT(refusal(kHead + variants + "[resources]\ntime = \"00:01:00\"\nwarning = \"00:01:00\"\n"),
              HasSubstr("warning"));
  EXPECT_THAT(refusal(kHead + variants + "[resources]\ngpus_per_node = 4\n"), HasSubstr("4 GPUs and 1 ranks"));
  EXPECT_THAT(refusal(kHead + "[variants]\na = {}\nb = { optim.lr = 1e-3 }\n"),
              HasSubstr("a-seed1 and b-seed1 compute the same"));
  EXPECT_THAT(refusal(kHead + variants + "[resources]\nranks_per_node = 3\n[set]\nparallel.tensor = 2\n"),
              AllOf(HasSubstr("v-seed1"), HasSubstr("parallel.tensor = 2")));
  EXPECT_THAT(refusal("name = "), HasSubstr("not valid TOML"));
}

TEST_F(CampaignFile, TakesAxesInItsOrder) {
  const auto all =
      runs(kHead + "[variants]\nv = {}\n[axes]\n\"train.steps\" = [5]\noptim.lr = [0.1]\n\"optim.beta1\" = [0.5]\n");
  EXPECT_EQ(all[0].name, "v-steps5-lr0.1-beta10.5-seed1");
}

TEST_F(CampaignFile, TakesKeysInEverySpelling) {
  scratch_.file("tvr.toml", "optim.tvr.enabled = true\n");
  for (const char* variant : {"[variants]\nv = { optim = { lr = 0.5 }, config = \"tvr.toml\" }\n",
                              "[variants]\nv.optim.lr = 0.5\nv.config = \"tvr.toml\"\n",
                              "[variants.v]\nconfig = \"tvr.toml\"\noptim.lr = 0.5\n",
                              "[variants.v]\n\"optim.lr\" = 0.5\nconfig = \"tvr.toml\"\n"}) {
    const auto all = runs(kHead + variant);
    ASSERT_THAT(all, SizeIs(1)) << variant;
    EXPECT_EQ(all[0].config.optim.lr, 0.5) << variant;
    EXPECT_TRUE(all[0].config.optim.tvr.enabled) << variant;
  }
}

TEST_F(CampaignFile, MakesPathsAbsoluteAndKeepsTheirLetters) {
  const std::string text = kHead + "[variants]\nv = {}\n[set]\ndata.corpus = \"a/../corpus\"\n";
  const auto all = expand(spec(text), "/it's \"mine\"\\runs");
  EXPECT_EQ(all[0].config.data.corpus, std::filesystem::current_path() / "corpus");
  EXPECT_EQ(all[0].config.runs_dir, "/it's \"mine\"\\runs");
}

TEST_F(CampaignFile, HasDefaults) {
  const Spec plain = spec(kHead + "[variants]\nv = {}\n");
  EXPECT_THAT(plain.seeds, ElementsAre(1U));
  EXPECT_EQ(plain.resources.ranks(), 1);
  EXPECT_EQ(plain.resources.seconds, 24 * 3600);
  EXPECT_EQ(plain.resources.warning, 300);
  EXPECT_EQ(plain.budget.restarts, 5);
  EXPECT_EQ(plain.report.ratio, 1000.0);
}

TEST_F(CampaignFile, IsRefusedWhereTwoRunsWouldHaveOneName) {
  EXPECT_THAT(refusal(kHead + "[variants]\nv = {}\n[axes]\n\"data.corpus\" = [\"a/b\", \"a_b\"]\n"),
              HasSubstr("two runs would be called 'v-corpusa_b-seed1'"));
  EXPECT_THAT(refusal(kHead + "[variants]\nreport = {}\n"),
              AllOf(HasSubstr("c.toml:4"), HasSubstr("report's own job")));
  EXPECT_THAT(refusal(kHead + "[variants]\n" + std::string(95, 'v') + " = {}\n"), HasSubstr("too long"));
}

TEST_F(CampaignFile, ThatIsMissingIsRefused) {
  test::expect_error([&] { load_spec(scratch_ / "none.toml"); }, ExitCode::bad_config, {"none.toml"});
}

TEST_F(CampaignFile, ThatNeedsMoreMemoryThanThereIsOrACorpusThatIsNotThereIsRefusedByItsRun) {
  const std::string gpu = "[variants]\nv = {}\n[resources]\ngpus_per_node = 1\n[set]\nmodel.vocab_size = 1000\n";
  const Spec large = spec(kHead + gpu + "model.hidden_size = 32768\nmodel.n_heads = 64\nmodel.ffn_size = 131072\n");
  test::expect_error([&] { cost_of(large, expand(large, "/runs"), {}); }, ExitCode::out_of_memory,
                     {"v-seed1", "a GPU"});
  const Spec lost = spec(kHead + "[variants]\nv = {}\n[set]\ndata.corpus = \"/nowhere\"\n");
  test::expect_error([&] { cost_of(lost, expand(lost, "/runs"), {}); }, ExitCode::bad_data, {"v-seed1", "/nowhere"});
}

TEST_F(CampaignFile, ThatShipsBecomesEighteenRunsOnTheSitesThatShip) {
  const std::filesystem::path configs = std::filesystem::path(test::source_dir()) / "configs";
  for (const char* name : {"small", "llama-1b", "gpt2-124m"}) {
    EXPECT_THAT(expand(load_spec(configs / "campaigns" / (std::string(name) + ".toml")), "/runs"), SizeIs(18)) << name;
  }
  for (const auto& entry : std::filesystem::directory_iterator(configs / "sites")) {
    EXPECT_FALSE(load_site(entry.path()).name.empty()) << entry.path();
  }
}

TEST_F(CampaignFile, BeyondItsBudgetIsRefusedWithBothNumbers) {
  const auto gpu = kHead + "[variants]\nv = {}\n[resources]\ngpus_per_node = 1\n[set]\nmodel.vocab_size = 1000\n";
  const Spec cheap = spec(gpu + "[budget]\ntokens = 1e9\n");
  EXPECT_GT(cost_of(cheap, expand(cheap, "/runs"), {}).tokens, 0.0);
  const Spec dear = spec(gpu + "[budget]\ntokens = 10\n");
  try {
    cost_of(dear, expand(dear, "/runs"), {});
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("budget.tokens allows 10"), HasSubstr("c.toml")));
  }
}

// ---- sites ----
class SiteFile : public CampaignFile {
 protected:
  std::string site_refusal(const std::string& text, const Resources& resources = {}) const {
    try {
      const Site site = load_site(scratch_.file("site.toml", text));
      refuse_what_the_site_lacks(site, settled(resources, site));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      return std::string(error.what()) + "\n" + error.hint();
    }
    return "not refused";
  }
};

const std::string kSite = "name = \"S\"\nslurm.partition = \"p\"\nnode.cores = 8\n";

TEST_F(SiteFile, WithoutANeededKeyIsRefusedByItsName) {
  EXPECT_EQ(site_refusal(kSite), "not refused");
  EXPECT_THAT(site_refusal("name = \"S\"\nnode.cores = 8\n"),
              AllOf(HasSubstr("site.toml"), HasSubstr("slurm.partition")));
  EXPECT_THAT(site_refusal("name = \"S\"\nslurm.partition = \"p\"\n"), HasSubstr("node.cores"));
  EXPECT_THAT(site_refusal(kSite + "slurm.acount = \"x\"\n"), HasSubstr("'slurm.account'"));
  EXPECT_THAT(site_refusal(kSite + "slurm.options = [\"mem=3G\"]\n"), HasSubstr("'mem=3G' is no option"));
  EXPECT_THAT(site_refusal(kSite + "slurm.gpu_option = \"--gpus=4\"\n"), HasSubstr("how many"));
  EXPECT_THAT(site_refusal(kSite + "environment.\"A-B\" = \"x\"\n"), HasSubstr("'A-B'"));
  EXPECT_THAT(site_refusal(kSite + "environment.A = 3\n"), HasSubstr("a table of texts"));
  EXPECT_THAT(site_refusal(kSite + "launch.launcher = \"aprun\"\n"), HasSubstr("auto, srun, mpirun"));
}

TEST_F(SiteFile, ThatLacksWhatRunsWantNamesBothNumbers) {
  Resources resources;
  resources.gpus_per_node = resources.ranks_per_node = 4;
  EXPECT_THAT(site_refusal(kSite, resources), HasSubstr("node.gpus"));
  EXPECT_THAT(site_refusal(kSite + "node.gpus = 2\n", resources), AllOf(HasSubstr("4 GPUs"), HasSubstr("has 2")));
  resources = {};
  resources.ranks_per_node = 3;
  resources.threads = 4;
  EXPECT_THAT(site_refusal(kSite, resources), AllOf(HasSubstr("12 cores"), HasSubstr("has 8")));
  resources = {};
  resources.seconds = 7200;
  EXPECT_THAT(site_refusal(kSite + "slurm.max_time = \"01:00:00\"\n", resources),
              AllOf(HasSubstr("02:00:00"), HasSubstr("01:00:00")));
  resources = {};
  resources.memory_gb = 64;
  EXPECT_THAT(site_refusal(kSite + "node.memory_gb = 32\n", resources), AllOf(HasSubstr("64 GB"), HasSubstr("has 32")));
}

TEST(Duration, IsReadAndWrittenAsSlurmDoes) {
  EXPECT_EQ(parse_duration("01:02:03"), 3723);
  EXPECT_EQ(parse_duration("2-00:00:01"), 2 * 86400 + 1);
  for (const char* wrong : {"", "90", "1:2:3", "00:60:00", "00:00:61", "1d", "-1:00:00"}) {
    EXPECT_EQ(parse_duration(wrong), std::nullopt) << wrong;
  }
  EXPECT_EQ(parse_slurm_duration("30:00"), 1800);
  EXPECT_EQ(parse_slurm_duration("infinite"), std::nullopt);
  EXPECT_EQ(duration_text(3723), "01:02:03");
  EXPECT_EQ(duration_text(86400), "1-00:00:00");
}

}  // namespace
}  // namespace headroom::campaign
