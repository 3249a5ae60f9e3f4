// A test of the report: a folder for its runs, the report written, and its files read back.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "analysis/report/report.h"
#include "base/error.h"
#include "tests/analysis/report_fixture.h"

namespace headroom::test {

namespace fs = std::filesystem;

inline std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  EXPECT_TRUE(in) << file;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline nlohmann::json json_of(const fs::path& file) {
  return nlohmann::json::parse(text_of(file));
}

// The rows of a table whose cells have these values.
inline std::vector<nlohmann::json> rows_where(const nlohmann::json& table, const nlohmann::json& wanted) {
  std::vector<nlohmann::json> found;
  for (const auto& row : table.at("rows")) {
    bool same = true;
    for (const auto& [key, value] : wanted.items()) same = same && row.at(key) == value;
    if (same) found.push_back(row);
  }
  return found;
}

class ReportTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              fmt::format("{}-{}", testing::UnitTest::GetInstance()->current_test_info()->test_suite_name(),
                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::vector<fs::path>& runs) {
    report::ReportOptions options;
    options.runs = runs;
    options.out = folder_ / "out";
    return report::write_report(options).parent_path();
  }
  std::string findings(const fs::path& report) {
    std::string all;
    for (const auto& finding : json_of(report / "tables" / "findings.json"))
      all += finding.at("text").get<std::string>() + "\n";
    return all;
  }
  // Rows of a table of the report of these runs.
  nlohmann::json rows(const std::vector<fs::path>& runs, const std::string& table) {
    return json_of(write(runs) / "tables" / (table + ".json")).at("rows");
  }
  // The data that the page's script draws, and one of its figures.
  static nlohmann::json page_data(const fs::path& report) {
    const std::string page = text_of(report / "index.html");
    const std::string mark = "type=\"application/json\">";
    const std::size_t begin = page.find(mark) + mark.size();
    return nlohmann::json::parse(page.substr(begin, page.find("</script>", begin) - begin));
  }
  static nlohmann::json figure(const fs::path& report, const std::string& id) {
    const nlohmann::json data = page_data(report);
    for (const auto& one : data.at("figures")) {
      if (one.at("id") == id) return one;
    }
    ADD_FAILURE() << "no figure " << id;
    return {};
  }
  void expect_error(const std::vector<fs::path>& runs, ExitCode code, const std::string& words) {
    try {
      write(runs);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_THAT(error.what(), testing::HasSubstr(words));
    }
    EXPECT_FALSE(fs::exists(folder_ / "out"));
  }

  fs::path folder_;
};

}  // namespace headroom::test
