// What the tests of a campaign's directory and scripts share: a campaign of two seeds in a directory whose name is hard
// on scripts, and bash.
#pragma once

#include <string>
#include <vector>

#include "base/process.h"
#include "campaign/directory.h"
#include "campaign/journal.h"
#include "tests/scratch.h"

namespace headroom::campaign {

inline Captured bash(const std::string& script) {
  return run_captured({"bash", "-c", script});
}

// A word for bash, whatever is in it.
inline std::string word(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}
inline std::string word(const std::filesystem::path& path) {
  return word(path.string());
}

inline Site sample_site() {
  Site site;
  site.name = "Sample";
  site.partition = "debug";
  site.cores = 8;
  return site;
}

// A directory with nothing but the campaign's folders. Runs tvr-seed1 and tvr-seed2 are an array of Slurm's.
class SampleCampaign {
 public:
  explicit SampleCampaign(const std::optional<Site>& site = sample_site()) {
    campaign.directory = scratch / "it's \"50%\" of $HOME";
    campaign.name = "sample";
    campaign.site = site;
    campaign.launcher = "srun";
    campaign.resources.threads = 1;
    campaign.runs = {{"tvr-seed1", "tvr", "TVR", 1, 100, 10}, {"tvr-seed2", "tvr", "TVR", 2, 100, 10}};
    for (const char* folder : {"configs", "jobs", "journal", "logs", "runs"}) {
      std::filesystem::create_directories(campaign.directory / folder);
    }
  }

  // The events of the first run's attempts with the statuses of those that have one: "started requeued:75".
  std::string events() const {
    static const char* const names[] = {"started", "requeued", "ended", "stopped", "cancelled", "gave up", "retried"};
    std::string text;
    for (const Attempt& attempt : Journal(campaign).attempts("tvr-seed1")) {
      if (!text.empty()) text += ' ';
      text += names[static_cast<std::size_t>(attempt.event)];
      if (attempt.event != AttemptEvent::started) text += ":" + std::to_string(attempt.status);
    }
    return text;
  }

  test::Scratch scratch;
  Campaign campaign;
};

}  // namespace headroom::campaign
