// The parts of the report that compute and format, each on numbers small enough to check by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "analysis/report/figure.h"
#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"
#include "analysis/report/measures.h"
#include "analysis/report/places.h"
#include "analysis/report/svg_scale.h"
#include "analysis/report/table.h"

namespace headroom::report {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(ReportMeasures, ShareBelowCutsABinGeometrically) {
  const std::vector<double> edges = {1.0, 4.0, 16.0, 64.0};
  const std::vector<std::int64_t> counts = {10, 20, 70};
  EXPECT_DOUBLE_EQ(share_below(counts, edges, 0.5), 0.0);
  EXPECT_DOUBLE_EQ(share_below(counts, edges, 4.0), 0.1);
  EXPECT_DOUBLE_EQ(share_below(counts, edges, 8.0), 0.2);  // half of the second bin's octaves
  EXPECT_DOUBLE_EQ(share_below(counts, edges, 100.0), 1.0);
  EXPECT_DOUBLE_EQ(share_below(std::vector<std::int64_t>{0, 0, 0}, edges, 8.0), 0.0);
}

TEST(ReportMeasures, TheLargestIsWhatIsNotFiniteIfAnythingIs) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(largest_of(std::vector<double>{1.0, 3.0, 2.0}), 1u);
  EXPECT_EQ(largest_of(std::vector<double>{1.0, kNaN, 2.0}), 1u);
  EXPECT_EQ(largest_of(std::vector<double>{kNaN, 3.0}), 0u);
  EXPECT_EQ(largest_of(std::vector<double>{9.0, kInfinity, kNaN}), 1u);
}

TEST(ReportMeasures, WritersPreferKeptValuesAndSayWhatIsOnlyABound) {
  SnapshotFile snapshot;
  snapshot.dims = {.layers = 1, .sequences = 1, .tokens = 3, .hidden = 2, .heads = 1, .top_k = 1, .bins = 1};
  const auto site = [](float top, std::int32_t token, std::int32_t channel, std::vector<float> channel_max) {
    SiteStatistics s;
    s.layers = s.sequences = 1;
    s.top_values = {top};
    s.top_token = {token};
    s.top_channel = {channel};
    s.channel_max = std::move(channel_max);
    return s;
  };
  snapshot.sites[Site::embedding_output] = site(0.5f, 1, 0, {0.5f, 0.25f});
  snapshot.sites[Site::attention_output] = site(-7.0f, 2, 1, {1.0f, 7.0f});
  snapshot.sites[Site::mlp_output] = site(3.0f, 0, 0, {3.0f, 2.0f});
  const auto list = writers(snapshot, {.layer = 0, .sequence = 0, .token = 2, .channel = 1, .value = -6.0});
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].site, Site::attention_output);
  EXPECT_TRUE(list[0].exact);
  EXPECT_DOUBLE_EQ(list[0].value, -7.0);
  EXPECT_EQ(list[1].site, Site::mlp_output);
  EXPECT_FALSE(list[1].exact);  // the channel's largest value is another token's
  EXPECT_DOUBLE_EQ(list[1].value, 2.0);
}

TEST(ReportFormat, NumbersShowThreeDigitsOrWhatIsLeftOfThePoint) {
  EXPECT_EQ(format_number(1416.2), "1,416");
  EXPECT_EQ(format_number(0.834), "0.834");
  EXPECT_EQ(format_number(99.96), "100");
  EXPECT_EQ(format_number(-12.345), "-12.3");
  EXPECT_EQ(format_number(778240.0), "778,240");
  EXPECT_EQ(format_number(0.000012), "1.2e-05");
  EXPECT_EQ(format_number(kNaN), "–");
  EXPECT_EQ(format_count(-1234567), "-1,234,567");
  EXPECT_EQ(format_amount(8.26e6), "8.26 M");
  EXPECT_EQ(format_amount(999600.0), "1 M");  // the unit is chosen after rounding
  EXPECT_EQ(format_amount(12345.0), "12.3 k");
  EXPECT_EQ(format_amount(1.5e15), "1500 T");
  EXPECT_EQ(format_share(1.0), "100 %");
  EXPECT_EQ(format_share(0.125), "12.5 %");
  EXPECT_EQ(format_share(0.0), "0 %");
}

TEST(ReportFormat, ChangesAndRangesReadAsAPersonWritesThem) {
  EXPECT_EQ(format_change(103.1, 100.0), "+3.1 %");
  EXPECT_EQ(format_change(30.0, 100.0), "×0.30");
  EXPECT_EQ(format_change(100.0, 0.0), "");
  EXPECT_EQ(format_ranges({}), "");
  EXPECT_EQ(format_ranges({0, 3}), "0 and 3");
  EXPECT_EQ(format_ranges({1, 2, 3, 4, 7}), "1–4 and 7");
  EXPECT_EQ(file_stem("TVR + KV bias"), "tvr-kv-bias");
  EXPECT_EQ(file_stem("…"), "unnamed");
}

TEST(ReportFormat, MarkupIsEscapedAndBrokenTextRepaired) {
  EXPECT_EQ(escape_markup("<a href='x'>&\"\x01\xFF"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(ReportTable, CsvQuotesWhatNeedsIt) {
  const Table table{.name = "t",
                    .title = "T",
                    .columns = {{.key = "a"}, {.key = "b"}},
                    .rows = {{text_cell("x,\"y\""), number_cell(kNaN)}, {text_cell("z"), number_cell(0.1)}}};
  EXPECT_EQ(to_csv(table), "a,b\r\n\"x,\"\"y\"\"\",\r\nz,0.1\r\n");
}

TEST(ReportFigure, ColorScalesCoverTheDataAndClampTheRest) {
  const ColorScale scale = scale_for({0.0, 1e-9, 1.0, 100.0, kNaN}, "x", true, Palette::magma, 3.0);
  EXPECT_DOUBLE_EQ(scale.low, 0.1);
  EXPECT_DOUBLE_EQ(scale.high, 100.0);
  EXPECT_NEAR(*position_on(scale, 1.0), 1.0 / 3.0, 1e-12);
  EXPECT_DOUBLE_EQ(*position_on(scale, 1e-9), 0.0);
  EXPECT_FALSE(position_on(scale, 0.0));
  EXPECT_FALSE(position_on(scale, kNaN));
  EXPECT_EQ(color_at(Palette::viridis, 0.0), "#440154");
  EXPECT_EQ(color_at(Palette::viridis, 2.0), "#fde725");
}

TEST(ReportFigure, ARuleLiesOnItsAxisAboveAndBelowTheData) {
  Panel panel;
  panel.y.log = true;
  panel.series.push_back({.x = {0.0, 1.0}, .y = {900.0, 2000.0}});
  panel.rules.push_back({100.0, "threshold"});
  EXPECT_LE(y_scale({&panel}).range.low, 100.0);
  panel.series.front().y = {1.0, 20.0};
  EXPECT_GE(y_scale({&panel}).range.high, 100.0);
}

TEST(ReportFigure, WhatIsShownOfManyKeepsWhatItMust) {
  EXPECT_EQ(shown_of(5, 8, {3}), (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(shown_of(50, 4, {40}), (std::vector<std::int64_t>{0, 1, 2, 40}));
  EXPECT_EQ(spread_of(12, 4, {7, -1}), (std::vector<std::int64_t>{0, 4, 7, 8}));
  EXPECT_EQ(left_out_words("Heads", {0, 1, 2, 40}, 50), "Heads 0–2 and 40 of 50 are shown");
  EXPECT_EQ(left_out_words("Heads", {0, 1}, 2), "");
}

TEST(ReportFigure, AxesHaveRoundTicks) {
  Panel panel;
  panel.series.push_back({.x = {0.0, 5.0}, .y = {0.13, 0.87}});
  const Scale y = y_scale({&panel});
  EXPECT_LE(y.range.low, 0.13);
  EXPECT_GE(y.range.high, 0.87);
  std::vector<std::string> labels;
  for (const Tick& tick : ticks(x_scale({&panel}), 5, true)) labels.push_back(tick.label);
  EXPECT_EQ(labels, (std::vector<std::string>{"0", "1", "2", "3", "4", "5"}));
  labels.clear();
  for (const Tick& tick : ticks({{0.1, 1000.0}, true}, 5, false)) labels.push_back(tick.label);
  EXPECT_EQ(labels, (std::vector<std::string>{"0.1", "1", "10", "100", "1000"}));
}

}  // namespace
}  // namespace headroom::report
