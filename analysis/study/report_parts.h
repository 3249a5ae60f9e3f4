// What a study's report is made of: tables, figures and sentences, each from the numbers of its conditions.
#pragma once

#include <string>
#include <vector>

#include "analysis/report/figure.h"
#include "analysis/report/table.h"
#include "analysis/study/report.h"

namespace headroom::study {

// "with BOS", "without BOS".
std::string words_of(const Condition& condition);
// "1.23 (1.1 to 1.4)", without the interval where it is not known.
std::string words_of(const Interval& interval);
// A part of a whole in whole per cent: "98 %".
std::string share_words(double part, double whole);
// The first few of a list, and how many more there are: "3, 7, 9 and 12 more".
std::string some_of(const std::vector<std::int32_t>& numbers);
// Whether what attention and the feed-forward put out is added to the stream as it is.
bool adds_up(const decoder::Config& config);
// Shares of all heads of all layers.
struct SinkShares {
  double first = 0.0;
  double other = 0.0;
  double slot = 0.0;
};
SinkShares sink_shares(const Condition& condition);
// "#rrggbb" of the conditions, in order.
const std::vector<std::string>& colors();

// report_tables.cpp
report::Table summary_table(const Subject& subject, const std::vector<Condition>& conditions, const Options& options);
std::string summary_note(const Options& options);
report::Table intervention_table(const Subject& subject, const std::vector<Condition>& conditions);
std::string intervention_note();
report::Table token_table(const Subject& subject, const std::vector<Condition>& conditions, const Tokenizer& tokenizer);
report::Table channel_table(const std::vector<Condition>& conditions);
// Its rows with the largest activations, as many as a page takes.
report::Table largest_channels(const report::Table& channels);
report::Table layer_table(const std::vector<Condition>& conditions, const Options& options);

// report_figures.cpp
report::Section magnitude_section(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options);
report::Section attention_section(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options, const Tokenizer& tokenizer);
report::Section intervention_section(const Subject& subject, const std::vector<Condition>& conditions);

// report_json.cpp: tables/study.json.
nlohmann::ordered_json study_json(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options, const std::vector<std::string>& findings);

// report_findings.cpp: what was found, in words.
std::vector<std::string> findings(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options, const Tokenizer& tokenizer);

}  // namespace headroom::study
