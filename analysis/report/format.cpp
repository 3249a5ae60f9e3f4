#include "analysis/report/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include "data/utf8.h"

namespace headroom::report {
namespace {

std::string with_separators(std::string digits) {
  const std::size_t sign = digits.starts_with('-') ? 1 : 0;
  const std::size_t end = std::min(digits.find('.'), digits.size());
  for (std::size_t at = end; at > sign + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

}  // namespace

double round_significant(double value, int digits) {
  if (!std::isfinite(value) || value == 0.0) return value;
  return std::strtod(fmt::format("{:.{}e}", value, digits - 1).c_str(), nullptr);
}

std::string format_number(double value, int digits) {
  if (std::isnan(value)) return "–";
  if (std::isinf(value)) return value > 0 ? "∞" : "-∞";
  if (value == 0.0) return "0";
  const double rounded = round_significant(value, digits);
  const double magnitude = std::abs(rounded);
  if (magnitude >= 1e7 || magnitude < 1e-3) return fmt::format("{:.{}e}", value, std::max(0, digits - 2));
  if (magnitude >= 100.0) return with_separators(fmt::format("{:.0f}", value));
  const int before = static_cast<int>(std::floor(std::log10(magnitude))) + 1;
  return fmt::format("{:.{}f}", value, std::max(0, digits - before));
}

std::string format_count(std::int64_t value) {
  return with_separators(fmt::format("{}", value));
}

std::string format_amount(double value) {
  if (!std::isfinite(value)) return format_number(value);
  static constexpr std::pair<double, const char*> kUnits[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}};
  const double rounded = round_significant(value, 3);  // 999,600 is 1 M
  for (const auto& [size, unit] : kUnits) {
    if (std::abs(rounded) >= size) return fmt::format("{:.6g} {}", rounded / size, unit);
  }
  return fmt::format("{:.3g}", rounded);
}

std::string format_change(double value, double base) {
  if (!std::isfinite(value) || !std::isfinite(base) || base == 0.0 || value / base <= 0.0) return {};
  const double factor = value / base;
  if (factor >= 2.0 || factor <= 0.5) return fmt::format("×{}", format_number(factor, 2));
  const double percent = (factor - 1.0) * 100.0;
  if (std::abs(percent) < 0.05) return "±0 %";
  return fmt::format("{}{:.1f} %", percent > 0 ? "+" : "−", std::abs(percent));
}

std::string format_share(double share) {
  if (!std::isfinite(share)) return "–";
  const double percent = share * 100.0;
  if (std::abs(percent) >= 99.95 && std::abs(percent) < 1000.0) return fmt::format("{:.0f} %", percent);
  return format_number(percent, std::abs(percent) >= 1.0 ? 3 : 2) + " %";
}

std::string format_ranges(const std::vector<std::int64_t>& values) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < values.size();) {
    std::size_t last = i;
    while (last + 1 < values.size() && values[last + 1] == values[last] + 1) ++last;
    if (last > i + 1) {
      parts.push_back(fmt::format("{}–{}", values[i], values[last]));
    } else {
      for (std::size_t k = i; k <= last; ++k) parts.push_back(fmt::format("{}", values[k]));
    }
    i = last + 1;
  }
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  }
  return text;
}

std::string escape_markup(std::string_view text) {
  std::string valid;
  append_valid_utf8(text, valid);
  std::string out;
  for (const char c : valid) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if ((byte < 0x20 && c != '\t' && c != '\n' && c != '\r') || byte == 0x7F) {
          out += "\xEF\xBF\xBD";  // U+FFFD
        } else {
          out += c;
        }
    }
  }
  return out;
}

std::string shown_piece(std::string_view piece) {
  std::string out;
  for (std::size_t i = 0; i < piece.size(); ++i) {
    if (piece.substr(i).starts_with("\xE2\x96\x81")) {  // SentencePiece's word mark
      out += "␣";
      i += 2;
    } else if (piece[i] == '\n') {
      out += "⏎";
    } else if (piece[i] == ' ') {
      out += "␣";
    } else {
      out += piece[i];
    }
  }
  return out;
}

std::string file_stem(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) || c == '.')) {
      out += static_cast<char>(std::tolower(byte));
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (!out.empty() && (out.back() == '-' || out.back() == '.')) out.pop_back();
  return out.empty() ? "unnamed" : out;
}

}  // namespace headroom::report
