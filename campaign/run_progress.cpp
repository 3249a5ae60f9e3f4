#include "campaign/run_progress.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "trainer/median.h"

namespace headroom::campaign {
namespace {

constexpr std::streamoff kTail = 64 * 1024;  // bytes; a line of a model of 100 layers is about 10 KiB
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// The file's last lines, the first of them whole.
std::string tail_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return "";
  const std::streamoff size = in.tellg();
  const std::streamoff begin = std::max<std::streamoff>(0, size - kTail);
  in.seekg(begin);
  std::ostringstream text;
  text << in.rdbuf();
  std::string tail = std::move(text).str();
  if (begin > 0) tail.erase(0, tail.find('\n') + 1);
  return tail;
}

double number_at(const nlohmann::json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_number() ? found->get<double>() : kUnknown;
}

double largest_ratio(const nlohmann::json& record) {
  double largest = kUnknown;
  const auto ratios = record.find("layer_ratio");
  if (ratios == record.end() || !ratios->is_array()) return largest;
  for (const auto& ratio : *ratios) {
    if (!ratio.is_number()) return kUnknown;
    if (!(ratio.get<double>() <= largest)) largest = ratio.get<double>();
  }
  return largest;
}

}  // namespace

std::optional<RunProgress> read_progress(const std::filesystem::path& metrics) {
  std::optional<RunProgress> progress;
  std::vector<double> speeds;
  std::vector<double> seconds;
  std::istringstream lines(tail_of(metrics));
  for (std::string line; std::getline(lines, line) && !lines.eof();) {
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer()) continue;
    progress =
        RunProgress{record["step"].get<std::int64_t>(), number_at(record, "loss"), 0.0, 0.0, largest_ratio(record)};
    if (const double speed = number_at(record, "tokens_per_second"); speed > 0.0) speeds.push_back(speed);
    if (const double time = number_at(record, "step_seconds"); time > 0.0) seconds.push_back(time);
  }
  if (!progress) return progress;
  progress->tokens_per_second = speeds.empty() ? kUnknown : median(speeds);
  progress->step_seconds = seconds.empty() ? kUnknown : median(seconds);
  return progress;
}

}  // namespace headroom::campaign
