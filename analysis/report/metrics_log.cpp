#include "analysis/report/metrics_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/step_number.h"
#include "base/error.h"
#include "base/file.h"

namespace headroom::report {
namespace {

double number_at(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : kUnknown;
}

double element(const nlohmann::json& value) {
  return value.is_number() ? value.get<double>() : kUnknown;
}

std::vector<double> numbers_at(const nlohmann::json& object, const char* key) {
  std::vector<double> out;
  const auto found = object.find(key);
  if (found == object.end()) return out;
  for (const auto& value : *found) out.push_back(element(value));
  return out;
}

void read_alphas(const nlohmann::json& line, StepRecord& record) {
  const auto found = line.find("dyt_alpha");
  if (found == line.end()) return;
  for (const auto& pair : *found) {
    record.alpha_attention.push_back(element(pair.at(0)));
    record.alpha_mlp.push_back(element(pair.at(1)));
  }
}

template <class T>
void drop_from(std::vector<T>& records, std::int64_t step) {
  while (!records.empty() && records.back().step >= step) records.pop_back();
}

void read_step(std::int64_t step, const nlohmann::json& line, MetricsLog& log) {
  StepRecord record;
  record.step = step;
  record.tokens = number_at(line, "tokens");
  record.loss = number_at(line, "loss");
  record.tokens_per_second = number_at(line, "tokens_per_second");
  record.layer_max = numbers_at(line, "layer_max");
  record.layer_median = numbers_at(line, "layer_median");
  record.layer_ratio = numbers_at(line, "layer_ratio");
  record.kv_bias_mass = numbers_at(line, "kv_bias_mass");
  read_alphas(line, record);
  if (!log.steps.empty() &&
      record.step <= log.steps.back().step) {  // a resumed run does the steps after its checkpoint again
    drop_from(log.steps, record.step);
    drop_from(log.evaluations, record.step);
    drop_from(log.tvr, record.step);
  }
  if (const auto eval = line.find("eval"); eval != line.end() && eval->is_object()) {
    log.evaluations.push_back({record.step, record.tokens, number_at(*eval, "loss"), number_at(*eval, "perplexity"),
                               number_at(*eval, "tokens")});
  }
  if (const auto tvr = line.find("tvr"); tvr != line.end() && tvr->is_object()) {
    log.tvr.push_back(
        {record.step, number_at(*tvr, "rescaled"), number_at(*tvr, "matrices"), number_at(*tvr, "max_ratio")});
  }
  log.steps.push_back(std::move(record));
}

}  // namespace

MetricsLog read_metrics(const std::filesystem::path& file) {
  MetricsLog log;
  const std::string text = read_file(file);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const bool complete = end != std::string::npos;
    const std::string words = text.substr(begin, complete ? end - begin : std::string::npos);
    begin = complete ? end + 1 : text.size();
    ++number;
    if (words.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto refuse = [&](const std::string& why) {
      throw Error(ExitCode::bad_data, fmt::format("{}:{}: not a record of metrics: {}", file.string(), number, why),
                  "Is this a metrics.jsonl that Headroom wrote? docs/metrics.md describes its lines.");
    };
    try {
      const auto line = nlohmann::json::parse(words);
      if (line.contains("run")) {
        log.run = line["run"].is_object() ? line["run"] : line;
      } else if (const auto step = step_number(line.at("step"))) {
        read_step(*step, line, log);
      } else {
        refuse(fmt::format("step {}", line["step"].dump()));
      }
    } catch (const nlohmann::json::exception& error) {
      if (!complete) {
        log.remark = fmt::format("line {} of {} is cut off and was left out", number, file.filename().string());
        break;
      }
      refuse(error.what());
    }
  }
  return log;
}

Speed MetricsLog::speed() const {
  std::vector<double> speeds;
  for (std::size_t i = steps.size() > 1 ? 1 : 0; i < steps.size(); ++i) {
    if (steps[i].tokens_per_second > 0.0) speeds.push_back(steps[i].tokens_per_second);
  }
  if (speeds.empty()) return {};
  std::sort(speeds.begin(), speeds.end());
  const auto at = [&](std::size_t quarter) { return speeds[(speeds.size() - 1) * quarter / 4]; };
  return {at(2), at(1), at(3)};
}

double MetricsLog::smoothed_loss_at(double tokens) const {
  std::size_t count = 0;
  while (count < steps.size() && steps[count].tokens <= tokens) ++count;
  if (count == 0) return kUnknown;
  const std::size_t window = std::max<std::size_t>(1, count / 20);
  double sum = 0.0;
  for (std::size_t i = count - window; i < count; ++i) sum += steps[i].loss;
  return sum / static_cast<double>(window);
}

const EvalPoint* MetricsLog::evaluation_at(double tokens) const {
  const auto found = std::find_if(evaluations.begin(), evaluations.end(),
                                  [&](const EvalPoint& point) { return point.tokens == tokens; });
  return found == evaluations.end() ? nullptr : &*found;
}

}  // namespace headroom::report
