// The multiple-choice tasks that a run answers while it trains (eval.tasks).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "analysis/evaluation/choice_task.h"
#include "data/corpus.h"
#include "model/transformer.h"
#include "parallel/mesh.h"
#include "trainer/config.h"

namespace headroom {

class RunTasks {
 public:
  // Reads and encodes them, BOS before every text as the corpus has it before every document. Throws
  // ExitCode::bad_config where there is no tokenizer to encode them with, or two tasks have one name; else as read_task
  // and prepare_task do.
  RunTasks(const RunConfig& config, const Corpus& corpus);

  bool empty() const { return tasks_.empty(); }

  // Collective. {"NAME": {"acc": ..., "acc_stderr": ..., ...}, ..., "seconds": ...}; a number that is not finite is
  // null. Nothing when a rank was asked to stop meanwhile.
  std::optional<nlohmann::ordered_json> evaluate(Transformer& model, const Mesh& mesh) const;

 private:
  std::int64_t micro_batch_;
  std::vector<evaluation::PreparedTask> tasks_;
};

}  // namespace headroom
