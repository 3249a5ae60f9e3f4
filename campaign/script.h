// A job's script while it is written, and the parts that jobs on Slurm and on this machine share.
#pragma once

#include <string>

#include "campaign/directory.h"

namespace headroom::campaign {

// Text as one word of bash.
std::string quoted(const std::string& text);

class Script {
 public:
  void line(const std::string& text = "") { text_ += text + "\n"; }
  // A directive of sbatch.
  void option(const std::string& option, const std::string& comment = "");
  void lines(const std::string& text) { text_ += text; }
  std::string text() && { return std::move(text_); }

 private:
  std::string text_;
};

// "# tvr of the campaign small: 150 steps of 4096 tokens on 1 x 1 ranks."
std::string words_about(const Campaign& campaign, const RunEntry& run);

// Functions of bash that want $attempts, $campaign and $run:
//   mend_journal         before a line is added to the journal
//   newest_checkpoint    its name
//   starts_in_vain       how often the run has begun since it last made a checkpoint or was asked for
//   on_ranks VERB ...    runs a verb of headroom on all ranks (`launch`, `headroom`), handing on a stop signal
extern const char* const kScriptFunctions;

// And the end of both: what the run's exit status means. Wants `again`, which begins the run again or gives it up.
extern const char* const kScriptOutcome;

}  // namespace headroom::campaign
