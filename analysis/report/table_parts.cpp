#include "analysis/report/table_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/format.h"

namespace headroom::report {
namespace {

std::string set_words(const Study& study, const SetMeasures* (Study::*set)(std::size_t) const) {
  std::vector<std::string> names;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = (study.*set)(run);
    if (m && std::find(names.begin(), names.end(), m->set.name) == names.end()) names.push_back(m->set.name);
  }
  return fmt::format("{}", fmt::join(names, " / "));
}

}  // namespace

Column plain(std::string key, std::string help) {
  return {std::move(key), "", std::move(help), true};
}

Cell missing() {
  return Cell::of(nullptr, "–");
}

Cell run_cell(const Study& study, std::size_t run, bool with_name) {
  Cell cell = text_cell(study.runs[run].label);
  cell.color = static_cast<int>(run);
  if (with_name && study.runs[run].label != study.runs[run].name) cell.note = study.runs[run].name;
  return cell;
}

Cell figure_cell(double value, const std::string& note, double base) {
  Cell cell = number_cell(value);
  if (!std::isfinite(value)) cell.text = "not finite";
  cell.note = note;
  const std::string change = format_change(value, base);
  if (!change.empty()) cell.note += (note.empty() ? "" : " · ") + change;
  return cell;
}

Cell share_cell(double value, std::string note) {
  return Cell::of(std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr), format_share(value),
                  std::move(note));
}

std::string layer_note(std::size_t layer) {
  return fmt::format("layer {}", layer);
}

std::string main_words(const Study& study) {
  return set_words(study, &Study::main);
}

std::string without_bos_words(const Study& study) {
  return set_words(study, &Study::without_bos);
}

double base_figure(const Study& study, std::size_t run, const std::function<double(const SetMeasures&)>& figure) {
  const auto pair = study.common_snapshots(run);
  if (!pair || pair->own != &study.runs[run].history.back() ||
      pair->base != &study.runs[*study.baseline].history.back())
    return kUnknown;
  const SetMeasures* base = find_set(pair->base->sets, study.main(run)->set.key);
  return base ? figure(*base) : kUnknown;
}

}  // namespace headroom::report
