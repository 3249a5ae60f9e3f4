#include "data/tokenizer/pattern_dialect.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer/unicode_versions.h"

namespace headroom {
namespace {

bool is_letter_or_digit(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

class Translator {
 public:
  Translator(std::string_view pattern, bool for_older_characters)
      : pattern_(pattern), for_older_characters_(for_older_characters) {}

  // Of three bytes and more, as the youngest characters have.
  bool names_characters() const { return names_characters_; }

  std::string translated() {
    while (!done()) {
      const char c = peek();
      switch (c) {
        case '(':
          group();
          break;
        case ')':
          close();
          break;
        case '[':
          begin_atom();
          character_class();
          break;
        case '\\':
          begin_atom();
          escape(/*in_class=*/false);
          break;
        case '*':
        case '+':
        case '?':
          quantifier();
          break;
        case '{':
          interval_or_brace();
          break;
        case '$':
          begin_atom();
          out_ += "(?:(?=\\n)|(?<!\\n)\\z)";
          ++at_;
          break;
        case '|':
          copy();
          atom_ = npos;
          break;
        default:
          begin_atom();
          copy_character();
      }
    }
    return std::move(out_);
  }

 private:
  static constexpr std::size_t npos = std::string::npos;

  bool done() const { return at_ >= pattern_.size(); }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  std::string_view rest() const { return pattern_.substr(at_); }
  void copy() { out_ += pattern_[at_++]; }
  // One character, which may be several bytes.
  void copy_character() {
    names_characters_ = names_characters_ || static_cast<unsigned char>(peek()) >= 0xE0;
    copy();
    while (!done() && (static_cast<unsigned char>(peek()) & 0xC0) == 0x80) copy();
  }
  [[noreturn]] void refuse(const std::string& what) const { throw PatternRefused(what, at_); }
  void begin_atom() { atom_ = out_.size(); }

  void group() {
    const std::size_t begin = out_.size();
    if (rest().starts_with("(*")) refuse("(* is not taken");
    if (!rest().starts_with("(?")) {
      copy();
    } else if (rest().starts_with("(?i)")) {
      // Elsewhere the two differ in what a '|' that follows belongs to.
      if (at_ != 0) refuse("(?i) is taken only where a pattern begins; use (?i:...)");
      out_ += "(?i)";
      at_ += 4;
      return;
    } else {
      static constexpr std::array<std::string_view, 8> kTaken{"(?:",  "(?=",  "(?!",  "(?>",
                                                              "(?<=", "(?<!", "(?i:", "(?-i:"};
      std::string_view taken;
      for (const std::string_view opening : kTaken) {
        if (rest().starts_with(opening)) taken = opening;
      }
      if (taken.empty()) refuse("this kind of group is not taken");
      out_ += taken;
      at_ += taken.size();
    }
    groups_.push_back(begin);
    atom_ = npos;
  }

  void close() {
    copy();
    atom_ = groups_.empty() ? npos : groups_.back();
    if (!groups_.empty()) groups_.pop_back();
  }

  void quantifier() {
    if (atom_ == npos) refuse("nothing to repeat");
    copy();
    // a++, a*+, a?+ and a+?, a*?, a?? mean the same to both; more of them do not.
    if (peek() == '+' || peek() == '?') copy();
    if (peek() == '*' || peek() == '+' || peek() == '?') refuse("a repetition of a repetition is not taken");
    if (peek() == '{') refuse("a repetition of a repetition is not taken");
    atom_ = npos;
  }

  // {n}, {n,}, {n,m} and {,m}; any other brace stands for itself.
  void interval_or_brace() {
    std::size_t end = at_ + 1;
    const auto digits = [&] {
      std::string_view number = pattern_.substr(end);
      std::size_t count = 0;
      while (count < number.size() && std::isdigit(static_cast<unsigned char>(number[count])) != 0) ++count;
      end += count;
      return number.substr(0, count);
    };
    const std::string_view low = digits();
    const bool comma = end < pattern_.size() && pattern_[end] == ',';
    if (comma) ++end;
    const std::string_view high = comma ? digits() : std::string_view();
    const bool interval = end < pattern_.size() && pattern_[end] == '}' && !(low.empty() && high.empty());
    if (!interval) {
      begin_atom();
      out_ += "\\{";
      ++at_;
      return;
    }
    if (atom_ == npos) refuse("nothing to repeat");
    if (low.size() > 4 || high.size() > 4) refuse("a repetition beyond 9999");
    const bool lazy_of_one = !comma && pattern_.substr(end + 1).starts_with('?');
    if (lazy_of_one) refuse("{n}? is not taken");
    out_ += fmt::format("{{{}{}{}}}", low.empty() ? "0" : low, comma ? "," : "", high);
    at_ = end + 1;
    if (peek() == '?') {
      copy();
    } else if (peek() == '+') {  // repeats the repetition
      out_.insert(atom_, "(?:");
      out_ += ")+";
      ++at_;
    }
    if (peek() == '*' || peek() == '+' || peek() == '?' || peek() == '{') {
      refuse("a repetition of a repetition is not taken");
    }
    atom_ = npos;
  }

  void character_class() {
    copy();
    if (peek() == '^') copy();
    if (peek() == ']') refuse("a class that begins with ] is not taken");
    while (!done() && peek() != ']') {
      if (peek() == '[') refuse("[ in a class is not taken; \\[ is");
      if (rest().starts_with("&&")) refuse("&& in a class is not taken");
      if (peek() == '\\') {
        escape(/*in_class=*/true);
      } else {
        copy_character();
      }
    }
    if (done()) refuse("the class does not end");
    copy();
  }

  void escape(bool in_class) {
    const char c = peek(1);
    if (c == '\0') refuse("nothing follows \\");
    if (!is_letter_or_digit(c)) {
      if (static_cast<unsigned char>(c) >= 0x80) {
        ++at_;  // what it escapes is no operator
      } else {
        copy();
      }
      copy_character();
      return;
    }
    switch (c) {
      case 's':
        out_ += "\\p{White_Space}";
        break;
      case 'S':
        out_ += "\\P{White_Space}";
        break;
      case 'd':
      case 'D':
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        out_ += '\\';
        out_ += c;
        break;
      case 'A':
      case 'z':
        if (in_class) refuse(fmt::format("\\{} in a class is not taken", c));
        out_ += '\\';
        out_ += c;
        break;
      case 'p':
      case 'P':
        property(c, in_class);
        return;
      case 'u':
      case 'x':
        code_point(c);
        return;
      default:
        refuse(fmt::format("\\{} is not taken", c));
    }
    at_ += 2;
  }

  // \p{NAME}, \p{^NAME}, \P{NAME}.
  void property(char letter, bool in_class) {
    const std::size_t end = pattern_.find('}', at_);
    if (peek(2) != '{' || end == npos) refuse(fmt::format("\\{} needs a name in braces", letter));
    std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    bool negated = letter == 'P';
    if (name.starts_with('^')) {
      name.remove_prefix(1);
      negated = !negated;
    }
    static constexpr std::array<std::string_view, 33> kCategories{
        "C",  "Cc", "Cf", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",  "Mc", "Me", "Mn", "N", "Nd", "Nl",
        "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z", "Zs"};
    static constexpr std::array<std::string_view, 3> kScripts{"Han", "Hiragana", "Katakana"};
    const auto holds = [&](const auto& names) {
      for (const std::string_view known : names) {
        if (name == known) return true;
      }
      return false;
    };
    const bool script = holds(kScripts);
    if (!script && !holds(kCategories)) refuse(fmt::format("the property '{}' is not taken", name));
    const std::string written = fmt::format("{{{}{}}}", script ? "sc:" : "", name);
    if (for_older_characters_) {
      out_ += fmt::format("\\{}{}", negated ? 'P' : 'p', written);
    } else if (in_class) {
      if (negated) refuse("a negated property in a class is not taken in a pattern that names characters");
      out_ += fmt::format("\\p{}{}", written, young_members(name));
    } else {
      out_ += fmt::format("[{}\\p{}{}]", negated ? "^" : "", written, young_members(name));
    }
    at_ = end + 1;
  }

  // \xHH, \x{H...}, \uHHHH.
  void code_point(char letter) {
    std::size_t begin = at_ + 2;
    std::size_t end = begin;
    const bool braces = letter == 'x' && peek(2) == '{';
    if (braces) ++begin, ++end;
    while (end < pattern_.size() && std::isxdigit(static_cast<unsigned char>(pattern_[end])) != 0) ++end;
    const std::size_t wanted = letter == 'u' ? 4 : 2;
    if (!braces) end = std::min(end, begin + wanted);
    if (braces ? (end == begin || end > begin + 6 || end >= pattern_.size() || pattern_[end] != '}')
               : end != begin + wanted) {
      refuse(fmt::format("\\{} needs {}", letter, letter == 'u' ? "four hex digits" : "two hex digits or braces"));
    }
    const std::string digits(pattern_.substr(begin, end - begin));
    const unsigned long code = std::stoul(digits, nullptr, 16);
    // \x80 to \xFF are bytes to Oniguruma.
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) || (letter == 'x' && !braces && code >= 0x80)) {
      refuse(fmt::format("\\{}{} is no character", letter, digits));
    }
    names_characters_ = names_characters_ || code >= 0x800;
    out_ += fmt::format("\\x{{{:x}}}", code);
    at_ = end + (braces ? 1 : 0);
  }

  std::string_view pattern_;
  bool for_older_characters_;
  bool names_characters_ = false;
  std::size_t at_ = 0;
  std::string out_;
  std::size_t atom_ = npos;          // where in out_ begins what a quantifier would repeat
  std::vector<std::size_t> groups_;  // where in out_ the open groups begin
};

}  // namespace

TranslatedPattern to_pcre2(std::string_view pattern) {
  Translator first(pattern, /*for_older_characters=*/true);
  std::string translated = first.translated();
  if (!first.names_characters()) return {std::move(translated), true};
  return {Translator(pattern, /*for_older_characters=*/false).translated(), false};
}

std::string quoted_for_pcre2(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) {
      quoted += "\\x{0}";
      continue;
    }
    if (byte < 0x80 && !is_letter_or_digit(c)) quoted += '\\';
    quoted += c;
  }
  return quoted;
}

}  // namespace headroom
