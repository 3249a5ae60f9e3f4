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
// "#rrggbb" of the conditions, in order.
const std::vector<std::string>& colors();

// report_tables.cpp
report::Table summary_table(const std::vector<Condition>& conditions, const Options& options);
std::string summary_note(const Options& options);
report::Table intervention_table(const std::vector<Condition>& conditions);
std::string intervention_note();
report::Table token_table(const Subject& subject, const std::vector<Condition>& conditions, const Tokenizer& tokenizer);
report::Table channel_table(const std::vector<Condition>& conditions);
report::Table layer_table(const std::vector<Condition>& conditions, const Options& options);

// report_figures.cpp
report::Section magnitude_section(const std::vector<Condition>& conditions, const Options& options);
report::Section attention_section(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options, const Tokenizer& tokenizer);
report::Section intervention_section(const std::vector<Condition>& conditions);

// report_findings.cpp: what was found, in words.
std::vector<std::string> findings(const Subject& subject, const std::vector<Condition>& conditions,
                                  const Options& options, const Tokenizer& tokenizer);

}  // namespace headroom::study
