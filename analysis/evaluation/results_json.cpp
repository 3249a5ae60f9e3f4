#include "analysis/evaluation/results_json.h"

#include <cmath>

namespace headroom::evaluation {
namespace {

using nlohmann::ordered_json;

ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json();
}

}  // namespace

ordered_json to_json(const Task& task, const TaskResult& result) {
  ordered_json metrics;
  for (const Metric& metric : result.metrics) {
    metrics[metric.name] = number(metric.value);
    metrics[metric.name + "_stderr"] = metric.standard_error ? number(*metric.standard_error) : ordered_json();
  }
  ordered_json items = ordered_json::array();
  std::int64_t cut = 0;
  for (std::size_t i = 0; i < task.items.size(); ++i) {
    const TaskItem& item = task.items[i];
    const ItemScores& scores = result.items[i];
    ordered_json one;
    one["line"] = item.line;
    if (!item.id.empty()) one["id"] = ordered_json::parse(item.id);
    one["log_likelihoods"] = scores.log_likelihoods;
    one["greedy"] = scores.greedy;
    one["tokens"] = scores.tokens;
    if (scores.cut) one["cut"] = true;
    if (scores.cut) ++cut;
    items.push_back(std::move(one));
  }
  return {{"name", task.name},
          {"form", name_of(task.form)},
          {"items", task.items.size()},
          {"items_with_contexts_cut", cut},
          {"metrics", std::move(metrics)},
          {"scores", std::move(items)}};
}

ordered_json to_json(const PerplexityOptions& options, const PerplexityResult& result) {
  const bool packed = options.kind == PerplexityKind::packed;
  ordered_json json{{"kind", packed ? "packed" : "sliding"}, {"window", options.window}};
  if (!packed) json["stride"] = options.stride;
  json["windows"] = result.windows;
  json["documents"] = result.documents;
  json["tokens"] = result.tokens;
  json["scored_tokens"] = result.scored;
  json["text_bytes"] = result.text_bytes;
  json["scored_bytes"] = number(result.scored_bytes);
  json["nll"] = number(result.nll);
  json["mean_nll"] = number(result.mean_nll());
  json["perplexity"] = number(result.perplexity());
  json["bits_per_byte"] = number(result.bits_per_byte());
  return json;
}

}  // namespace headroom::evaluation
