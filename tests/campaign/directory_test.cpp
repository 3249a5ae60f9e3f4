// A campaign's directory: what it keeps, how it grows, and what may not be changed under runs that have begun.
#include "campaign/directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "campaign/campaign_report.h"
#include "campaign/runs.h"
#include "tests/data/support.h"
#include "trainer/config_schema.h"

namespace headroom::campaign {
namespace {

using ::testing::ElementsAre;

class CampaignDirectory : public testing::Test {
 protected:
  CampaignDirectory() { scratch_.file("base.toml", "optim.lr = 1e-3\nvariant = \"base\"\ntrain.steps = 50\n"); }

  // Makes the campaign of a file that says `more`, or extends the one that is there.
  Campaign make(const std::string& more = "", const std::optional<Site>& site = {}) const {
    const Spec spec =
        load_spec(scratch_.file("c.toml", "name = \"c\"\nbase = \"base.toml\"\n" + more +
                                              "\n[variants]\nplain = {}\ntvr = { optim.tvr.enabled = true }\n"));
    return make_campaign(directory(), spec, expand(spec, directory() / "runs"), site, "mpirun");
  }
  std::filesystem::path directory() const { return scratch_ / "campaigns/it's \"c\""; }
  std::string manifest() const { return test::content_of(directory() / "campaign.json"); }

  static std::vector<std::string> names(const Campaign& campaign) {
    std::vector<std::string> names;
    for (const RunEntry& run : campaign.runs) names.push_back(run.name);
    return names;
  }

  test::Scratch scratch_;
};

TEST_F(CampaignDirectory, IsOpenedAsItWasMade) {
  const Campaign made = make("seeds = [4, 2]\nresources.threads = 3\nbudget.restarts = 7\nreport.title = \"T\"");
  const Campaign opened = open_campaign(directory());
  EXPECT_EQ(opened.directory, made.directory);
  EXPECT_EQ(opened.name, "c");
  EXPECT_FALSE(opened.site.has_value());
  EXPECT_EQ(opened.resources.threads, 3);
  EXPECT_EQ(opened.budget.restarts, 7);
  EXPECT_EQ(opened.report.title, "T");
  EXPECT_THAT(names(opened), ElementsAre("plain-seed4", "plain-seed2", "tvr-seed4", "tvr-seed2"));
  EXPECT_THAT(opened.groups(), ElementsAre("plain", "tvr"));
  EXPECT_EQ(opened.find("tvr-seed2")->steps, 50);
  EXPECT_EQ(opened.find("tvr-seed3"), nullptr);
  EXPECT_EQ(test::content_of(directory() / "campaign.toml"), test::content_of(scratch_ / "c.toml"));
}

TEST_F(CampaignDirectory, HasAConfigForEachRunThatSaysWhereItLies) {
  const Campaign made = make();
  const RunConfig config = load_config(made.config("tvr-seed1"), {});
  EXPECT_EQ(config.name, "tvr-seed1");
  EXPECT_EQ(config.runs_dir, (directory() / "runs").string());
  EXPECT_TRUE(config.optim.tvr.enabled);
}

TEST_F(CampaignDirectory, IsTheSameWithASlashBehindIt) {
  make();
  EXPECT_EQ(open_campaign(directory() / "").directory, directory());
}

TEST_F(CampaignDirectory, GrowsBySeedsAndKeepsRunsThatAreNotPlannedAnyMore) {
  make("seeds = [1, 2]");
  make("seeds = [3, 1]");
  EXPECT_THAT(names(open_campaign(directory())),
              ElementsAre("plain-seed3", "plain-seed1", "tvr-seed3", "tvr-seed1", "plain-seed2", "tvr-seed2"));
}

TEST_F(CampaignDirectory, TakesAnotherConfigForRunsThatHaveNotBegun) {
  make();
  const Campaign changed = make("set.optim.lr = 0.5");
  EXPECT_EQ(load_config(changed.config("plain-seed1"), {}).optim.lr, 0.5);
}

TEST_F(CampaignDirectory, RefusesAnotherConfigForARunThatHasBegunAndChangesNothing) {
  const Campaign made = make();
  std::filesystem::create_directories(made.run_directory("tvr-seed1"));
  const std::string before = manifest();
  test::expect_error([&] { make("seeds = [1, 2]\nset.optim.lr = 0.5"); }, ExitCode::bad_config,
                     {"tvr-seed1", "optim.lr: 0.001 -> 0.5"});
  EXPECT_EQ(manifest(), before);
  EXPECT_EQ(load_config(made.config("plain-seed1"), {}).optim.lr, 1e-3);
  EXPECT_FALSE(std::filesystem::exists(made.config("plain-seed2")));
  EXPECT_THAT(names(make("seeds = [1, 2]")), testing::SizeIs(4)) << "more seeds are not another config";
}

TEST_F(CampaignDirectory, StaysWithItsExecutor) {
  const std::string profile = "name = \"Sample\"\nslurm.partition = \"p\"\nnode.cores = 2\n";
  const Site site = load_site(scratch_.file("site.toml", profile));
  make();
  test::expect_error([&] { make("", site); }, ExitCode::bad_config, {"on this machine"});
  std::filesystem::remove_all(directory());
  make("", site);
  EXPECT_EQ(open_campaign(directory()).site->partition, "p");
  test::expect_error([&] { make(); }, ExitCode::bad_config, {"on Sample (Slurm)"});
}

TEST_F(CampaignDirectory, ThatIsNoneOrDamagedOrOfAnotherFormatIsRefused) {
  test::expect_error([&] { open_campaign(scratch_.path()); }, ExitCode::usage, {"no campaign.json"});
  make();
  const std::string whole = manifest();
  const auto with = [&](const std::string& text) { std::ofstream(directory() / "campaign.json") << text; };
  with(whole.substr(0, whole.size() / 2));
  test::expect_error([&] { open_campaign(directory()); }, ExitCode::bad_config, {"campaign.json"});
  with("{\"format\": 2, \"headroom\": \"headroom 99\"}");
  test::expect_error([&] { open_campaign(directory()); }, ExitCode::bad_config,
                     {"format 2", "headroom 99", "format 1"});
}

TEST_F(CampaignDirectory, HasNoReportBeforeAStepIsTrained) {
  const Campaign made = make();
  std::vector<std::string> left_out;
  test::expect_error([&] { write_campaign_report(made, left_out); }, ExitCode::bad_data, {"no run", "step"});
  EXPECT_THAT(left_out,
              ElementsAre("plain-seed1 has not trained a step: waiting", "tvr-seed1 has not trained a step: waiting"));
}

}  // namespace
}  // namespace headroom::campaign
