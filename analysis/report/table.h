// A table of the report: one description, written as CSV (plain values), JSON (plain values with the columns' meaning)
// and HTML (formatted for people).
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace headroom::report {

struct Column {
  std::string key{};    // name in CSV and JSON
  std::string title{};  // heading in HTML
  std::string help{};   // what it means, with its unit
  bool number = true;   // right-aligned
  int color = -1;       // index of a run whose colour is shown before the title
};

struct Cell {
  nlohmann::json value{};  // null, bool, number or string: what CSV and JSON hold
  std::string text{};      // HTML: what is shown
  std::string note{};      // HTML: a second, smaller line
  std::string badge{};     // HTML: "good", "bad" or "plain" draws the text as a badge
  int color = -1;          // HTML: index of a run whose colour is shown before the text
  std::string mark{};      // HTML: what stands out about the value, on a line of its own
  std::string help{};      // HTML: what the text means

  static Cell of(nlohmann::json value, std::string text, std::string note = {}) {
    return {std::move(value), std::move(text), std::move(note), {}, -1, {}, {}};
  }
};

struct Table {
  std::string name{};  // file stem under tables/
  std::string title{};
  std::vector<Column> columns{};
  std::vector<std::vector<Cell>> rows{};
};

// A cell of a number: NaN becomes null; shown with `digits` significant digits.
Cell number_cell(double value, int digits = 3);
Cell count_cell(std::int64_t value);
Cell text_cell(const std::string& text);

std::string to_csv(const Table& table);
nlohmann::json to_json(const Table& table);
// Columns whose title is empty are left to the files.
std::string to_html(const Table& table, const std::vector<std::string>& run_colors);

}  // namespace headroom::report
