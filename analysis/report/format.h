// Numbers and names as the report prints them, and escaping for the formats it writes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::report {

// About `digits` significant digits, no more than a person reads: "1,416", "0.83", "1.2e-05"; "–" for NaN.
std::string format_number(double value, int digits = 3);

// Whole numbers with separators: "65,536".
std::string format_count(std::int64_t value);

// Large counts in words: "1.31 M", "100 B".
std::string format_amount(double value);

// A change relative to `base` as "+3.1 %" or, beyond a doubling or halving, "2.4x"; empty where it has no meaning.
std::string format_change(double value, double base);

// A share as a percentage: "0 %", "12.5 %", "0.003 %".
std::string format_share(double share);

// "0", "0 and 3", "1-4", "1-4 and 7", from a rising list.
std::string format_ranges(const std::vector<std::int64_t>& values);

// `value` rounded to `digits` significant digits; NaN and infinities stay.
double round_significant(double value, int digits);

// Text made safe for HTML and XML: the five special characters escaped, control characters and broken UTF-8
// replaced by U+FFFD.
std::string escape_markup(std::string_view text);

// A token piece as shown: the word mark U+2581 and line breaks made visible, quoted by the caller.
std::string shown_piece(std::string_view piece);

// Text as part of a file name: lower-case letters, digits, '-' and '.'.
std::string file_stem(std::string_view text);

}  // namespace headroom::report
