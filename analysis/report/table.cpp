#include "analysis/report/table.h"

#include <fmt/format.h>

#include <cmath>

#include "analysis/report/format.h"
#include "base/error.h"

namespace headroom::report {
namespace {

std::string csv_field(const nlohmann::json& value) {
  if (value.is_null()) return {};
  if (!value.is_string()) return value.dump();
  const auto text = value.get<std::string>();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

std::string csv_line(const std::vector<std::string>& fields) {
  return fmt::format("{}\r\n", fmt::join(fields, ","));
}

std::string dot_html(int run, const std::vector<std::string>& run_colors) {
  if (run < 0) return {};
  return fmt::format("<i class=\"dot\" style=\"background:{}\"></i>", run_colors.at(static_cast<std::size_t>(run)));
}

std::string cell_html(const Cell& cell, const std::vector<std::string>& run_colors) {
  std::string out = dot_html(cell.color, run_colors);
  out += cell.badge.empty() ? escape_markup(cell.text)
                            : fmt::format("<b class=\"badge {}\">{}</b>", cell.badge, escape_markup(cell.text));
  if (!cell.note.empty()) out += fmt::format("<small>{}</small>", escape_markup(cell.note));
  if (!cell.mark.empty()) out += fmt::format("<b class=\"mark\">{}</b>", escape_markup(cell.mark));
  return out;
}

}  // namespace

Cell number_cell(double value, int digits) {
  return Cell::of(std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr), format_number(value, digits));
}

Cell count_cell(std::int64_t value) {
  return Cell::of(value, format_count(value));
}

Cell text_cell(const std::string& text) {
  return Cell::of(text, text);
}

std::string to_csv(const Table& table) {
  std::vector<std::string> fields;
  for (const Column& column : table.columns) fields.push_back(csv_field(column.key));
  std::string out = csv_line(fields);
  for (const auto& row : table.rows) {
    HEADROOM_CHECK(row.size() == table.columns.size(), "table {} has a row of {} cells", table.name, row.size());
    fields.clear();
    for (const Cell& cell : row) fields.push_back(csv_field(cell.value));
    out += csv_line(fields);
  }
  return out;
}

nlohmann::json to_json(const Table& table) {
  nlohmann::json out = {{"name", table.name}, {"title", table.title}, {"columns", nlohmann::json::array()}};
  for (const Column& column : table.columns) out["columns"].push_back({{"key", column.key}, {"help", column.help}});
  out["rows"] = nlohmann::json::array();
  for (const auto& row : table.rows) {
    nlohmann::json one = nlohmann::json::object();
    for (std::size_t i = 0; i < row.size(); ++i) one[table.columns[i].key] = row[i].value;
    out["rows"].push_back(one);
  }
  return out;
}

std::string to_html(const Table& table, const std::vector<std::string>& run_colors) {
  std::string out = "<div class=\"scroll\"><table><thead><tr>";
  for (const Column& column : table.columns) {
    if (column.title.empty()) continue;
    out += fmt::format("<th{} title=\"{}\">{}{}</th>", column.number ? " class=\"number\"" : "",
                       escape_markup(column.help), dot_html(column.color, run_colors), escape_markup(column.title));
  }
  out += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (table.columns[i].title.empty()) continue;
      out += fmt::format("<td{}{}>{}</td>", table.columns[i].number ? " class=\"number\"" : "",
                         row[i].help.empty() ? "" : fmt::format(" title=\"{}\"", escape_markup(row[i].help)),
                         cell_html(row[i], run_colors));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace headroom::report
