// Multiple-choice tasks by log-likelihood, as lm-evaluation-harness 0.4 computes them (its `ConfigurableTask` with
// output_type multiple_choice): acc, acc_norm, acc_bytes, their standard errors, and TruthfulQA's mc2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/evaluation/scorer.h"
#include "analysis/evaluation/task_file.h"
#include "analysis/evaluation/text_encoding.h"

namespace headroom::evaluation {

// An item's choices, in their order.
struct ItemScores {
  std::vector<double> log_likelihoods;  // sums over the continuation's tokens
  std::vector<bool> greedy;             // whether every token of it was the argmax
  std::vector<std::int64_t> tokens;     // of the continuation
  bool cut = false;                     // contexts lost tokens at their beginning
};

struct Metric {
  std::string name;
  double value = 0.0;                    // mean over the items
  std::optional<double> standard_error;  // none for a single item
};

struct TaskResult {
  std::vector<ItemScores> items;  // as the task's
  std::vector<Metric> metrics;
};

// `max_length`: tokens that the model reads at once; the beginning of a longer context is left out. `file` is what
// errors call the task's file. Throws ExitCode::bad_data naming its line for an item that cannot be scored: a
// continuation without tokens of its own or longer than max_length, a context without tokens.
TaskResult evaluate_task(const Task& task, const std::string& file, const TextEncoding& encoding,
                         std::int64_t max_length, Scorer& scorer, const Scorer::Advance& advance);

// The metrics of a form from what its items scored:
//   choices   acc: the largest log-likelihood is an answer's (of equal ones the first counts); acc_norm: of
//             log-likelihood / characters of the choice; acc_bytes: of log-likelihood / its bytes in UTF-8
//   contexts  acc
//   labels    mc2: share of the true choices in the sum of all choices' likelihoods
std::vector<Metric> metrics_of(const Task& task, const std::vector<ItemScores>& scores);

// Mean, and the standard error of the mean: sqrt(sum (x - mean)^2 / (n - 1)) / sqrt(n).
Metric mean_of(const std::string& name, const std::vector<double>& values);

}  // namespace headroom::evaluation
