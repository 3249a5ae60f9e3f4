// What the groups of a study measure over their seeds, and where they differ from the baseline's by more than the
// seeds do. Every group at the same training tokens: held-out figures at evaluated_tokens, activations at
// snapshot_tokens, training loss up to equal_tokens.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "analysis/report/estimate.h"
#include "analysis/report/study.h"

namespace headroom::report {

enum class Shown : std::uint8_t { number, nats, share };

struct SeedMeasure {
  std::string key;    // in files
  std::string title;  // on the page
  std::string help;
  Averaging averaging = Averaging::arithmetic;
  Shown shown = Shown::number;
  bool of_tokens = false;  // losses: they compare between equal vocabularies and corpora only
  // nullopt: the run has none at the tokens compared at; NaN: it has, and it is not finite.
  std::function<std::optional<double>(const Study&, std::size_t run)> value;
};

// In the order of the table.
std::vector<SeedMeasure> seed_measures(const Study& study);

// One group's figures of one measure.
struct SeedFigure {
  std::vector<std::size_t> runs;  // those that have a value
  std::vector<double> values;
  Estimate estimate;
  std::vector<std::size_t> unknown;  // runs whose value is not finite, which leaves the mean unknown
  bool compared = false;             // this and the baseline's have an interval, and something varies
  bool apart = false;                // and the intervals share no point
  // Against the baseline's mean: the quotient of geometric means, the difference of others; unknown where not apart.
  double change = kUnknown;
};

struct SeedComparison {
  std::vector<SeedMeasure> measures;
  std::vector<std::vector<SeedFigure>> figures;  // [measure][group]
  std::size_t compared = 0;
  std::size_t apart = 0;
  double apart_by_chance = 0.0;  // expected, if seeds were all that differs
};

SeedComparison compare_seeds(const Study& study);

// A mean, one end of an interval, or a value as the measure is shown.
std::string shown_value(const SeedMeasure& measure, double value);
// "lower, ×0.52", "higher, +0.031", "lower, −1.2 points"; empty where the intervals are not apart.
std::string change_words(const SeedMeasure& measure, const SeedFigure& figure);

// Runs of groups that ended early, have no snapshot or are not finite, by name; and how few the seeds are.
std::vector<std::string> seed_remarks(const Study& study, const SeedComparison& comparison);
// The rule by which differences are marked, how many were looked for and how many chance would mark.
std::string seed_rule(const Study& study, const SeedComparison& comparison);

// seeds_tables.cpp: measures by groups, for the page; the same in rows, and the values behind it, for files. Without
// rows where no run is repeated.
Table seeds_page_table(const Study& study, const SeedComparison& comparison);
Table seeds_table(const Study& study, const SeedComparison& comparison);
Table seed_values_table(const Study& study, const SeedComparison& comparison);

// figures_seeds.cpp: without figures where no run is repeated.
Section seeds_section(const Study& study, const SeedComparison& comparison);

}  // namespace headroom::report
