#include "trainer/run_tasks.h"

#include <algorithm>
#include <cmath>

#include "base/stopwatch.h"
#include "trainer/run_tokenizer.h"
#include "trainer/transformer_scorer.h"

namespace headroom {
namespace {

using namespace evaluation;
using nlohmann::ordered_json;

ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json();
}

}  // namespace

RunTasks::RunTasks(const RunConfig& config, const Corpus& corpus) : micro_batch_(config.train.micro_batch) {
  if (config.eval.tasks.empty()) return;
  const std::optional<Tokenizer> tokenizer = run_tokenizer(config, corpus);
  if (!tokenizer) {
    throw Error(ExitCode::bad_config, "eval.tasks: the corpus brings no tokenizer",
                "Name the one that it was made with as data.tokenizer.");
  }
  const TextEncoding encoding(*tokenizer, tokenizer->has_bos() ? SpecialTokens::bos : SpecialTokens::convention);
  for (const std::string& file : config.eval.tasks) {
    Task task = read_task(file, config.eval.tasks_limit);
    const auto named = [&](const PreparedTask& other) { return other.task.name == task.name; };
    if (task.name == "seconds" || std::any_of(tasks_.begin(), tasks_.end(), named)) {
      throw Error(ExitCode::bad_config, fmt::format("eval.tasks: the name '{}' of {} is taken", task.name, file),
                  "A task is called as its file is, without the extension: rename one.");
    }
    tasks_.push_back(prepare_task(std::move(task), file, encoding, config.model.seq_len));
  }
}

std::optional<ordered_json> RunTasks::evaluate(Transformer& model, const Mesh& mesh) const {
  const Stopwatch watch;
  ordered_json record;
  TransformerScorer scorer(model, micro_batch_, mesh);
  for (const PreparedTask& task : tasks_) {
    const TaskResult result = evaluate_task(task, scorer, {});
    if (scorer.stopped()) return std::nullopt;
    ordered_json metrics;
    for (const Metric& metric : result.metrics) {
      metrics[metric.name] = number(metric.value);
      if (metric.standard_error) metrics[metric.name + "_stderr"] = number(*metric.standard_error);
    }
    record[task.task.name] = std::move(metrics);
  }
  record["seconds"] = watch.seconds();
  return record;
}

}  // namespace headroom
