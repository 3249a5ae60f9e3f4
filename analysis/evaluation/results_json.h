// What `headroom eval` found, as JSON (docs/evaluation.md). Numbers that are not finite, and standard errors that there
// are none of, are null.
#pragma once

#include <nlohmann/json.hpp>

#include "analysis/evaluation/choice_task.h"
#include "analysis/evaluation/perplexity.h"

namespace headroom::evaluation {

nlohmann::ordered_json to_json(const Task& task, const TaskResult& result);
nlohmann::ordered_json to_json(const PerplexityOptions& options, const PerplexityResult& result);

}  // namespace headroom::evaluation
