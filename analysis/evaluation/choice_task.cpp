#include "analysis/evaluation/choice_task.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace headroom::evaluation {
namespace {

// Whether the choice with the largest score is an answer; NaN where a score is NaN, which no order has a place for.
double hit(const TaskItem& item, const std::vector<double>& scores) {
  if (std::any_of(scores.begin(), scores.end(), [](double score) { return std::isnan(score); })) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const auto chosen = static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  return std::find(item.answers.begin(), item.answers.end(), chosen) != item.answers.end() ? 1.0 : 0.0;
}

std::vector<double> divided(const std::vector<double>& scores, const std::vector<std::int64_t>& lengths) {
  std::vector<double> all;
  for (std::size_t i = 0; i < scores.size(); ++i) all.push_back(scores[i] / static_cast<double>(lengths[i]));
  return all;
}

// Relative to the largest, so that likelihoods below the smallest double do not make 0 / 0.
double true_share(const TaskItem& item, const std::vector<double>& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  double own = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double likelihood = std::exp(scores[i] - largest);
    sum += likelihood;
    if (item.labels[i]) own += likelihood;
  }
  return own / sum;
}

}  // namespace

Metric mean_of(const std::string& name, const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double sum = 0.0;
  for (const double value : values) sum += value;
  Metric metric{name, sum / count, std::nullopt};
  if (values.size() < 2) return metric;
  double squares = 0.0;
  for (const double value : values) squares += (value - metric.value) * (value - metric.value);
  metric.standard_error = std::sqrt(squares / (count - 1.0)) / std::sqrt(count);
  return metric;
}

std::vector<Metric> metrics_of(const Task& task, const std::vector<ItemScores>& scores) {
  HEADROOM_CHECK(task.items.size() == scores.size(), "{} items, {} scores", task.items.size(), scores.size());
  std::vector<double> acc, acc_norm, acc_bytes, share;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const TaskItem& item = task.items[i];
    const std::vector<double>& own = scores[i].log_likelihoods;
    if (task.form == TaskForm::labels) {
      share.push_back(true_share(item, own));
      continue;
    }
    acc.push_back(hit(item, own));
    acc_norm.push_back(hit(item, divided(own, item.characters)));
    acc_bytes.push_back(hit(item, divided(own, item.bytes)));
  }
  if (task.form == TaskForm::labels) return {mean_of("mc2", share)};
  if (task.form == TaskForm::contexts) return {mean_of("acc", acc)};
  return {mean_of("acc", acc), mean_of("acc_norm", acc_norm), mean_of("acc_bytes", acc_bytes)};
}

PreparedTask prepare_task(Task task, const std::string& file, const TextEncoding& encoding, std::int64_t max_length) {
  HEADROOM_CHECK(max_length >= 1, "a model that reads {} tokens", max_length);
  PreparedTask prepared;
  prepared.items.resize(task.items.size());
  for (std::size_t i = 0; i < task.items.size(); ++i) {
    const TaskItem& item = task.items[i];
    ItemScores& scores = prepared.items[i];
    scores.log_likelihoods.resize(item.pairs.size());
    scores.greedy.resize(item.pairs.size());
    for (std::size_t choice = 0; choice < item.pairs.size(); ++choice) {
      const auto refuse = [&](const std::string& why, const char* hint) {
        throw Error(ExitCode::bad_data, fmt::format("{} line {}, choice {}: {}", file, item.line, choice, why), hint);
      };
      TextEncoding::Pair pair = encoding.encode(item.pairs[choice].context, item.pairs[choice].continuation);
      if (pair.context.empty()) {
        refuse("a context without tokens", "The first token is scored by what stands before it: --bos puts BOS there.");
      }
      if (pair.continuation.empty()) {
        refuse("the continuation adds no token to the context's", "It must hold more than white space.");
      }
      const auto continuation = static_cast<std::int64_t>(pair.continuation.size());
      if (continuation > max_length) {
        refuse(fmt::format("a continuation of {} tokens; the model reads {}", continuation, max_length),
               "Shorten it, or take a larger --window where the model has the positions.");
      }
      Passage passage;
      passage.tokens = std::move(pair.context);
      passage.first = passage.tokens.size();
      passage.tokens.insert(passage.tokens.end(), pair.continuation.begin(), pair.continuation.end());
      const std::int64_t over = static_cast<std::int64_t>(passage.tokens.size()) - (max_length + 1);
      if (over > 0) {
        passage.tokens.erase(passage.tokens.begin(), passage.tokens.begin() + over);
        passage.first -= static_cast<std::size_t>(over);
        scores.cut = true;
      }
      scores.tokens.push_back(continuation);
      prepared.passages.push_back(std::move(passage));
      prepared.places.emplace_back(i, choice);
    }
  }
  prepared.task = std::move(task);
  return prepared;
}

TaskResult evaluate_task(const PreparedTask& prepared, Scorer& scorer, const Scorer::Advance& advance) {
  TaskResult result{prepared.items, {}};
  scorer.score(
      prepared.passages,
      [&](std::size_t passage, std::span<const TokenScore> scores) {
        const auto [item, choice] = prepared.places[passage];
        double sum = 0.0;
        bool greedy = true;
        for (const TokenScore& score : scores) {
          sum += score.log_prob;
          greedy = greedy && score.is_argmax;
        }
        result.items[item].log_likelihoods[choice] = sum;
        result.items[item].greedy[choice] = greedy;
      },
      advance);
  result.metrics = metrics_of(prepared.task, result.items);
  return result;
}

}  // namespace headroom::evaluation
